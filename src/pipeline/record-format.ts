/** Which format a pipeline's records have. */
import { serialize } from "../stages/formats/serialize.ts";
import type { ConfiguredStage } from "./plan-types.ts";

/** The format that a stage serializes rows in; undefined of every other stage. */
export const formatOf = (stage: ConfiguredStage | undefined): string | undefined =>
  stage?.definition === serialize ? (stage.config as { format: string }).format : undefined;
