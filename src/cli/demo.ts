import type { Verb } from "./verb.ts";
export const demo: Verb = { name: "demo", summary: "x", examples: [], async run() { return { document: {}, text: () => "" }; } };
