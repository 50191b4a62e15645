/**
 * Pipelines that run at their slots for as long as the process lives. It does no work on data: each run is a process of
 * its own, so that memory, heap flags and modules are a run's, and what goes wrong in one stays there.
 */
import { dirname } from "node:path";
import { PipelineError } from "../../errors.ts";
import { realClock, type Clock } from "../../stages/world.ts";
import { startTelemetry, type Telemetry } from "../../telemetry/sdk.ts";
import { registerServeGauges } from "../../telemetry/serve-gauges.ts";
import { toPipelineError } from "../flow.ts";
import { toolVersion } from "../version.ts";
import { findFiles, loadServed, refuseNamesakes, type Served } from "./served.ts";
import { readSlotState, type SlotState } from "./slot-state.ts";
import type { StartRun, TimetableStatus } from "./runs.ts";
import { Timetable } from "./timetable.ts";

export interface ServerInit {
  /** Files, and folders of files. */
  readonly paths: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly start: StartRun;
  /** Called once the files are read and before anything runs: a second server at one address ends here. */
  readonly listen: (status: () => ServerStatus) => Promise<void>;
  readonly log: (line: string) => void;
  /** Tells of a file that cannot be read; the server goes on with what it had. */
  readonly onBroken: (error: PipelineError) => void;
  readonly clock?: Clock;
}

export interface ServerStatus {
  /** False while it stops. */
  readonly ready: boolean;
  /** `stale` when the last reload met a file it could not take. */
  readonly config: "current" | "stale";
  readonly pipelines: readonly ({
    readonly name: string;
    readonly cron: string;
    readonly timezone: string;
    readonly overlap: string;
  } & TimetableStatus)[];
}

const flushMillis = 500;

/** @throws PipelineError for a file that cannot be served: a server that begins has nothing older to go on with */
export async function startServer(init: ServerInit): Promise<Server> {
  const telemetry = await startTelemetry(undefined, init.env, {
    service: { version: toolVersion },
    log: { warn: init.log },
  });
  const server = new Server(init, telemetry);
  try {
    await server.begin();
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

export class Server {
  readonly #init: ServerInit;
  readonly #telemetry: Telemetry;
  readonly #removeGauges: () => void;
  readonly #all = new Map<string, Timetable>();
  /** Served no more, but for a run under way. */
  readonly #retired = new Set<Timetable>();
  #isReady = false;
  #isStopping = false;
  #config: ServerStatus["config"] = "current";
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(init: ServerInit, telemetry: Telemetry) {
    this.#init = init;
    this.#telemetry = telemetry;
    this.#removeGauges = registerServeGauges(telemetry.meter, () =>
      this.status.pipelines.map(count),
    );
  }

  get status(): ServerStatus {
    const pipelines = [...this.#all.values()].map(describe);
    return { ready: this.#isReady, config: this.#config, pipelines };
  }

  async begin(): Promise<void> {
    const files = await findFiles(this.#init.paths);
    const wanted: Served[] = [];
    for (const file of files) {
      const served = await loadServed(file, this.#init.env);
      if (served) wanted.push(served);
      else this.#init.log(`${file} has no \`schedule\`: it is not served`);
    }
    refuseNamesakes(wanted);
    if (wanted.length === 0) throw nothingToServe();
    await this.#init.listen(() => this.status);
    await this.#serve(wanted);
    this.#isReady = !this.#isStopping;
  }

  /** Reads all files again: what is new is served, what is gone is not, and what is broken stays as it was. */
  reload(): Promise<void> {
    const reloading = this.#reloading.then(() => this.#reload());
    this.#reloading = reloading.catch(() => {});
    return reloading;
  }

  /** Stops what runs cleanly; nothing begins any more. */
  async stop(): Promise<void> {
    this.#isReady = false;
    this.#isStopping = true;
    const timetables = [...this.#all.values(), ...this.#retired];
    await Promise.all(timetables.map((timetable) => timetable.stop()));
    await this.#telemetry.shutdown(flushMillis);
    this.#removeGauges();
  }

  async #reload(): Promise<void> {
    let isStale = false;
    const broken = (error: unknown) => {
      isStale = true;
      this.#init.onBroken(toPipelineError(error, undefined));
    };
    try {
      const wanted = await this.#loadAgain(broken);
      refuseNamesakes(wanted);
      // Where a folder was mounted, an empty one stays.
      if (wanted.length === 0) throw nothingToServe();
      await this.#serve(wanted);
    } catch (error) {
      broken(error);
    }
    this.#config = isStale ? "stale" : "current";
    this.#init.log(`read again: ${this.#all.size} pipelines are served, config is ${this.#config}`);
  }

  async #loadAgain(broken: (error: unknown) => void): Promise<readonly Served[]> {
    const { paths, env } = this.#init;
    const known = [...this.#all.values()].map(({ served }) => served);
    const wanted: Served[] = [];
    for (const file of await findFiles(paths)) {
      try {
        const served = await loadServed(file, env);
        if (served) wanted.push(served);
      } catch (error) {
        broken(error);
        // A folder that is gone, such as a mount, says of none of its files that it is to end.
        wanted.push(...known.filter((old) => old.file === file || dirname(old.file) === file));
      }
    }
    return wanted;
  }

  async #serve(wanted: readonly Served[]): Promise<void> {
    const begun: [Served, SlotState][] = [];
    for (const served of wanted)
      if (!this.#all.has(served.name)) begun.push([served, await this.#stateOf(served)]);
    if (this.#isStopping) return;
    const names = new Set(wanted.map(({ name }) => name));
    for (const [name, timetable] of this.#all) if (!names.has(name)) this.#retire(name, timetable);
    for (const served of wanted) this.#all.get(served.name)?.reload(served);
    const { start, log, clock = realClock } = this.#init;
    for (const [served, state] of begun)
      this.#all.set(served.name, new Timetable({ served, state, start, log, clock }));
  }

  /** What is damaged there is told here, and by the run that meets it; the other pipelines are served. */
  async #stateOf({ folder, name }: Served): Promise<SlotState> {
    try {
      return await readSlotState(folder);
    } catch (error) {
      this.#init.log(`${name}: its folder in the spool cannot be read, so no slot is caught up`);
      this.#init.onBroken(toPipelineError(error, undefined));
      return {};
    }
  }

  #retire(name: string, timetable: Timetable): void {
    this.#init.log(`${name}: is served no more`);
    this.#all.delete(name);
    this.#retired.add(timetable);
    void timetable.retire().then(() => this.#retired.delete(timetable));
  }
}

const nothingToServe = (): PipelineError =>
  new PipelineError(
    "config-invalid",
    "no pipeline there has a `schedule`; expected `schedule: { cron: … }` in one of the files",
  );

function describe({ served, status }: Timetable): ServerStatus["pipelines"][number] {
  const { cron, timezone, overlap } = served.schedule;
  return { name: served.name, cron, timezone, overlap, ...status };
}

const count = ({ name, running, slots }: ServerStatus["pipelines"][number]) => ({
  pipeline: name,
  running: running !== null,
  slots,
});
