/** The destination `s3:` in a bucket of a scripted store, as several of its tests need it. */
import type { Destination } from "../../../src/stages/destinations/destination.ts";
import { openS3 } from "../../../src/stages/destinations/s3.ts";
import { objectOf } from "../../contract/destination-contract.ts";
import { type Call, type ScriptedS3, refuse, startScriptedS3 } from "../../servers/scripted-s3.ts";

export const canary = "c4n4ry-s3cr3t";
export const quick = { attempts: 5, firstMillis: 2, longestMillis: 10, totalMillis: 3000 };
export const page = objectOf("p/r/page", "the page");
/** Where it lies in the bucket. */
export const pageKey = "some/prefix/p/r/page";

export const answers = (status: number, code: string) => (call: Call) =>
  refuse(call.response, status, code);

/** Waits for work on a destination, then closes it, however the work ended. */
export async function closing<Result>(
  destination: Destination,
  work: Promise<Result>,
): Promise<Result> {
  try {
    return await work;
  } finally {
    await destination.close();
  }
}

const timeoutMillis = 2000;

/** Registers the hooks of the file that calls it; the store is there once a test runs, and as new for each. */
export function useScriptedBucket() {
  let store: ScriptedS3;
  before(async () => {
    store = await startScriptedS3("bucket");
  });
  after(() => store.stop());
  afterEach(() => {
    store.objects.clear();
    store.faults.length = 0;
    store.requests.length = 0;
    store.headers.length = 0;
    store.conditions = "honour";
    store.keysPerListing = 1000;
    bucket.timeoutMillis = timeoutMillis;
  });
  const bucket = {
    get store() {
      return store;
    },
    timeoutMillis,
    open: (extra = {}) =>
      openS3(
        new URL("s3://bucket/some/prefix"),
        {
          timeoutMillis: bucket.timeoutMillis,
          s3: { endpoint: store.endpoint, accessKeyId: "id", secretAccessKey: canary, ...extra },
        },
        quick,
      ),
  };
  return bucket;
}
