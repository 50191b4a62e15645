/** What a pipeline's folder says of its slots, read without its lock: files there are replaced as a whole. */
import { realDisk } from "../../stages/world.ts";
import { readJson } from "../run-files.ts";
import { doneName } from "../slot-done.ts";
import { doneSlotSchema, runRecordSchema, type DoneSlot, type RunRecord } from "../run-record.ts";

export interface SlotState {
  /** The last slot that was run for. */
  readonly done?: Date;
  /** The slot of a run that did not come to its end. */
  readonly unfinished?: Date;
  /** The run of the last slot. */
  readonly runId?: string;
}

/** @throws PipelineError `integrity-failed` for a damaged file */
export async function readSlotState(folder: string): Promise<SlotState> {
  const place = { disk: realDisk, path: folder };
  const done = await readJson<DoneSlot>(place, doneName, doneSlotSchema);
  const run = await readJson<RunRecord>(place, "run.json", runRecordSchema);
  return {
    ...(done && { done: new Date(done.slot), runId: done.commit.runId }),
    ...(run?.slot !== undefined && { unfinished: new Date(run.slot) }),
  };
}
