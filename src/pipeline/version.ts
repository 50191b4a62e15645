/** The version of spillway that runs. */
import { createRequire } from "node:module";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

export const toolVersion: string = version;
