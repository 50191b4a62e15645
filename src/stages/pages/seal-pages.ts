/** Pages through the worker pool, in order: what `compress`, `encrypt` and the plan's fused `seal` have in common. */
import { assert } from "../../errors.ts";
import { freeBuffer } from "../free-buffer.ts";
import { mapOrdered } from "../map-ordered.ts";
import type { Page, SealedPage } from "../nouns.ts";
import type { StageContext } from "../stage.ts";
import type { Codec } from "../../workers/frame.ts";
import type { FrameIdentity } from "../../workers/identity.ts";
import type { SealTask } from "../../workers/seal.ts";

/** What of the task is the same for every page. */
export type SealWork = Pick<SealTask, "compress" | "encrypt">;

/** What a codec adds to a file's name. */
export const codecSuffix: Readonly<Record<Codec, string>> = { zstd: ".zst", gzip: ".gz", none: "" };

/** File name suffix that a frame or a seal adds. */
function suffixOf({ compress, encrypt }: SealWork): string {
  return (compress ? codecSuffix[compress.codec] : "") + (encrypt ? ".age" : "");
}

/** One page more than there are threads, so that no thread waits for the next page. */
export async function* sealPages(
  work: SealWork,
  ctx: StageContext,
  input: AsyncIterable<Page>,
): AsyncGenerator<SealedPage> {
  const suffix = suffixOf(work);
  const width = ctx.pool.threads + 1;
  const discard = (page: Page) => page.release();
  yield* mapOrdered(input, { width, signal: ctx.signal, discard }, (page) =>
    sealPage(page, work, suffix, ctx),
  );
}

async function sealPage(
  page: Page,
  work: SealWork,
  suffix: string,
  ctx: StageContext,
): Promise<SealedPage> {
  const { content, extension } = page;
  try {
    const sealed = await ctx.pool.seal(
      { content, identity: identityOf(page, ctx.run.id), ...work },
      ctx.signal,
    );
    assert(sealed.sealedDigest.length === 32, "a seal comes with its SHA-256");
    return {
      ...page,
      content: sealed.bytes,
      sealedDigest: sealed.sealedDigest,
      extension: extension + suffix,
      work: { startMillis: sealed.startMillis, endMillis: sealed.endMillis },
      release() {
        freeBuffer(sealed.bytes);
        page.release();
      },
    };
  } catch (error) {
    page.release();
    throw error;
  }
}

function identityOf(page: Page, run: string): FrameIdentity {
  const { page: number, records, total, span, bytes, chain, final } = page;
  return { run, page: number, records, total, span, bytes, chain, final };
}
