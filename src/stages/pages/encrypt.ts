/**
 * what    seals a framed page as one age v1 file with a file key of its own
 * takes   frames · gives sealed
 * holds   16 MiB a thread with a passphrase (scrypt), nothing with public keys
 * order   kept
 * ends    with its input
 * fails   config-invalid (a key that is none)
 */
import * as v from "valibot";
import { secret, text } from "../atoms.ts";
import type { InferOutput } from "valibot";
import { defineStage } from "../stage.ts";
import type { Recipients } from "../../workers/age.ts";
import { sealPages } from "./seal-pages.ts";

const scryptBytes = 16 * 1024 * 1024;

const recipient = v.pipe(
  text,
  v.regex(/^(age1[0-9a-z]+|\$\{.*\})$/, "expected a public key that starts with age1"),
);

const expectedReaders = "expected `to` with public keys, `passphrase`, or the word none";

const config = v.union(
  [
    v.strictObject({
      to: v.pipe(
        v.union([
          recipient,
          v.pipe(v.array(recipient), v.minLength(1, "expected at least one public key")),
        ]),
        v.transform((to) => (typeof to === "string" ? [to] : to)),
        v.description("public keys (age1…) of those who may read the export; each can alone"),
      ),
    }),
    v.strictObject({
      passphrase: v.pipe(
        secret,
        v.minLength(12, "expected at least 12 characters"),
        v.description(
          "a passphrase instead of keys, by reference: `${env:…}` or `${file:…}`; slow on purpose, for small exports",
        ),
      ),
    }),
    v.strictObject({
      mode: v.pipe(
        v.literal("none", expectedReaders),
        v.description("`encrypt: none`: pages are stored readable by anyone"),
      ),
    }),
  ],
  expectedReaders,
);

export const encrypt = defineStage({
  name: "encrypt",
  summary:
    "Seals each page as an age v1 file: for public keys, for a passphrase, or (said explicitly) not at all.",
  config,
  shorthand: "mode",
  takes: "frames",
  gives: "sealed",
  holds: (config, _pageBytes, threads) => ("passphrase" in config ? threads * scryptBytes : 0),
  open: (config, ctx, input) => sealPages(encryptWork(config), ctx, input),
});

/** The worker's part of the config; nothing for `none`. */
export function encryptWork(given: InferOutput<typeof config>): { encrypt?: Recipients } {
  if ("mode" in given) return {};
  return { encrypt: "to" in given ? { to: given.to } : { passphrase: given.passphrase } };
}
