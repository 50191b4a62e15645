/** A key pair for a proof, made on the spot. */
import { generateAgeIdentity, identityToRecipient } from "../src/workers/age.ts";

export async function createKey(): Promise<{ identity: string; recipient: string }> {
  const identity = await generateAgeIdentity();
  return { identity, recipient: await identityToRecipient(identity) };
}
