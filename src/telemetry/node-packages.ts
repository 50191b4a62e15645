/** The one door to the packages of `sdk: node`, which are the user's own and no part of a bundle. */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const loadCore = (): typeof import("@opentelemetry/core") => require("@opentelemetry/core");

/** @throws when the optional package is not installed. */
export const loadSdkNode = (): typeof import("@opentelemetry/sdk-node") =>
  require("@opentelemetry/sdk-node");
