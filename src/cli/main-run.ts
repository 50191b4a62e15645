/** The command line of an export: `run` and nothing else, so that nothing else is in its memory (scripts/build.ts). */
import { runCommand } from "./command.ts";
import { run } from "./run.ts";

await runCommand([run]);
