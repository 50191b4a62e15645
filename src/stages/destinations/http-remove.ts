/** Objects leave a store that is spoken to over HTTP: one DELETE for each. Where the store keeps versions, those stay. */
import type { HttpAnswer } from "./http-exchange.ts";
import { segmentsOf } from "./object-names.ts";
import { persist } from "./retry.ts";
import { type Session, failureOf, refusalOf } from "./http-dialect.ts";

/** Removes an object; one that is not there is no error. */
export async function remove(session: Session, name: string, signal: AbortSignal): Promise<void> {
  segmentsOf(name);
  const ask = async () => {
    const answer = await session.connection.send({ method: "DELETE", name }, signal);
    if (answer.status >= 200 && answer.status < 300) answer.drop();
    else await mindRefusal(session, answer);
  };
  await persist(ask, signal, session.policy);
}

async function mindRefusal({ dialect }: Session, answer: HttpAnswer): Promise<void> {
  const refusal = await refusalOf(dialect, answer);
  if (!dialect.isMissing(refusal)) throw failureOf(dialect, refusal, "removing an object");
}
