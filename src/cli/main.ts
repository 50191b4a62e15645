/** The command line with all its verbs. Each loads late what it works with, so that help and refusals come at once. */
import { runCommand } from "./command.ts";
import { cat } from "./cat.ts";
import { check } from "./check.ts";
import { count } from "./count.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { init } from "./init.ts";
import { keygen } from "./keygen.ts";
import { ls } from "./ls.ts";
import { plan } from "./plan.ts";
import { restore } from "./restore.ts";
import { run } from "./run.ts";
import { scale } from "./scale.ts";
import { schema } from "./schema.ts";
import { serve } from "./serve.ts";
import { verify } from "./verify.ts";

await runCommand([
  run,
  serve,
  plan,
  scale,
  check,
  count,
  doctor,
  schema,
  verify,
  restore,
  cat,
  ls,
  keygen,
  init,
  demo,
]);
