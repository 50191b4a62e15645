/** What `doctor` asks of a container. */
import { PipelineError } from "../../errors.ts";
import { fault, good } from "../finding.ts";
import { openAzblob } from "./azblob.ts";
import { targetOf } from "./azblob-target.ts";
import type { ProbeDestination } from "./destination.ts";
import { describeWay, probePatience, probeStore } from "./store-probe.ts";

export const probeAzblob: ProbeDestination = async function* (url, asked) {
  try {
    const { origin, credentials } = targetOf(url, asked.azblob ?? {}, process.env);
    const what = "key" in credentials ? "the account's key" : "a shared access signature";
    yield good("credentials", what);
    yield* describeWay(origin);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    yield fault("store", error);
    return;
  }
  yield* probeStore(asked, (options) => openAzblob(url, options, probePatience));
};
