/**
 * One pipeline's slots and its runs, one at a time.
 *
 * A slot is run for once: which were is written down with each commit, so this knows nothing that a crash could lose. Of
 * slots that were missed only the latest is run for. What else can become of one: it is skipped while another run goes on,
 * waits for that to end, or takes its place, as `overlap` says; its run fails, and is tried again while that may help.
 */
import type { Clock } from "../../stages/world.ts";
import { isAhead } from "../slot-done.ts";
import { alreadyRunning, outcomeOf } from "./runs.ts";
import type { LastRun, Outcome, RunEnded, RunningRun, StartRun, TimetableStatus } from "./runs.ts";
import type { Served } from "./served.ts";
import type { SlotState } from "./slot-state.ts";

export interface TimetableInit {
  readonly served: Served;
  readonly state: SlotState;
  readonly start: StartRun;
  readonly clock: Clock;
  readonly log: (line: string) => void;
}

/** Timers hold no longer, so that a clock that was set, or a machine that slept, is noticed. */
const glanceMillis = 15_000;
/** Waits before a run that may succeed later is tried again. */
const againMillis = [60_000, 300_000, 900_000];
/** How often a run that goes on elsewhere is waited for. */
const elsewhereMillis = 15_000;
/** Finishing what an earlier slot left, beginning anew: what a slot may need, and no more. */
const mostGoes = 3;

const fresh = { tries: 0, goes: 1, restart: false };

interface Going {
  readonly slot: Date;
  readonly since: Date;
  readonly run: RunningRun;
  /** Retries so far; runs for this slot in this try; whether what was unfinished was discarded. */
  readonly tries: number;
  readonly goes: number;
  readonly restart: boolean;
}

export class Timetable {
  readonly #init: TimetableInit;
  #served: Served;
  /** The latest slot that came. */
  #seen: Date;
  #going: Going | undefined;
  #waiting: Date | undefined;
  #callOff = () => {};
  #callOffAgain = () => {};
  #isStopping = false;
  #last: LastRun | null = null;
  readonly #slots: Record<Outcome, number> = { committed: 0, skipped: 0, stopped: 0, failed: 0 };

  constructor(init: TimetableInit) {
    this.#init = init;
    this.#served = init.served;
    this.#seen = init.clock.date();
    this.#catchUp(init.state);
    this.#arm();
  }

  get served(): Served {
    return this.#served;
  }

  get status(): TimetableStatus {
    const going = this.#going;
    const next = this.#isStopping ? undefined : this.#served.slots.after(this.#seen);
    return {
      next: next?.toISOString() ?? null,
      running: going ? { slot: going.slot.toISOString(), since: going.since.toISOString() } : null,
      waiting: this.#waiting?.toISOString() ?? null,
      last: this.#last,
      slots: this.#slots,
    };
  }

  /** Goes by another schedule from now on; a run under way keeps its own, and what lies behind was never one of its slots. */
  reload(served: Served): void {
    const { cron, timezone } = this.#served.schedule;
    if (served.schedule.cron !== cron || served.schedule.timezone !== timezone) {
      this.#look();
      const now = this.#init.clock.date();
      if (now > this.#seen) this.#seen = now;
    }
    this.#served = served;
    this.#arm();
  }

  /** No slot is run for any more; a run under way goes on to its end, which is waited for. */
  async retire(): Promise<void> {
    this.#isStopping = true;
    this.#waiting = undefined;
    this.#callOff();
    this.#callOffAgain();
    await this.#going?.run.ended;
  }

  /** The same, and a run under way is stopped cleanly. */
  async stop(): Promise<void> {
    this.#going?.run.stop();
    await this.retire();
  }

  /** What was cut off, or came while nobody served: one run, for the latest slot. */
  #catchUp(state: SlotState): void {
    const [done, unfinished] = [state.done, state.unfinished].map((slot) => this.#believe(slot));
    const known = Math.max(done?.getTime() ?? -1, unfinished?.getTime() ?? -1);
    if (known < 0) return;
    const missed = this.#served.slots.upTo(this.#seen);
    if (missed && missed.getTime() > known) {
      this.#say(`slot ${missed.toISOString()} came while nobody served; it is run for now`);
      this.#begin(missed, fresh);
    } else if (
      unfinished &&
      known > 0 &&
      unfinished.getTime() === known &&
      known !== done?.getTime()
    ) {
      this.#say(`the run for slot ${unfinished.toISOString()} was cut off; it goes on`);
      this.#begin(unfinished, fresh);
    }
  }

  /** A slot that cannot have come yet says only that there were some. */
  #believe(slot: Date | undefined): Date | undefined {
    if (!slot || !isAhead(slot, this.#seen)) return slot;
    this.#say(`slot ${slot.toISOString()} has not come yet: a clock was wrong`);
    return new Date(0);
  }

  #arm(): void {
    this.#callOff();
    if (this.#isStopping) return;
    const { clock } = this.#init;
    const next = this.#served.slots.after(this.#seen);
    const millis = next ? next.getTime() - clock.date().getTime() : glanceMillis;
    this.#callOff = clock.after(Math.max(0, Math.min(millis, glanceMillis)), () => this.#look());
  }

  #look(): void {
    const now = this.#init.clock.date();
    if (isAhead(this.#seen, now)) this.#goBack(now);
    const due = this.#served.slots.upTo(now);
    if (due && due > this.#seen) {
      this.#seen = due;
      this.#come(due);
    }
    this.#arm();
  }

  /** The clock was ahead and was set right: no slot is waited for until that time comes again. */
  #goBack(now: Date): void {
    this.#say(`the clock went back behind slot ${this.#seen.toISOString()}; it counts from here`);
    this.#seen = now;
    this.#waiting = undefined;
    this.#callOffAgain();
  }

  #come(slot: Date): void {
    this.#callOffAgain();
    const going = this.#going;
    const { overlap } = this.#served.schedule;
    const late = `the run for slot ${going?.slot.toISOString()} goes on`;
    if (going && overlap === "skip") return this.#skip(slot, late);
    if (this.#waiting) this.#skip(this.#waiting, "a later one came");
    if (!going) return this.#begin(slot, fresh);
    this.#waiting = slot;
    if (overlap === "wait") return this.#say(`slot ${slot.toISOString()} waits: ${late}`);
    this.#say(`slot ${slot.toISOString()} replaces it: ${late}`);
    going.run.stop();
  }

  #begin(slot: Date, { tries, goes, restart }: typeof fresh): void {
    const { clock, start } = this.#init;
    this.#waiting = undefined;
    const run = start({ served: this.#served, slot, restart });
    const going: Going = { slot, since: clock.date(), run, tries, goes, restart };
    this.#going = going;
    void run.ended.then((ended) => this.#end(going, ended));
  }

  #end(going: Going, ended: RunEnded): void {
    this.#going = undefined;
    const slot = going.slot.toISOString();
    const isCommitted = outcomeOf(ended) === "committed";
    const isOther = isCommitted && this.#isOther(slot, ended.slot);
    const waits = ended.exitCode === alreadyRunning && this.#served.schedule.overlap === "wait";
    if (!waits) this.#note(going, ended, isCommitted);
    if (this.#isStopping) return;
    const waiting = this.#waiting;
    if (waiting) {
      if (waits) this.#skip(going.slot, "a later one came");
      // A run that goes on elsewhere is not ours to discard, whatever becomes of it.
      const isOurs = !isCommitted && ended.exitCode !== alreadyRunning;
      const restart = this.#served.schedule.overlap === "replace" && isOurs;
      return this.#begin(waiting, { ...fresh, restart });
    }
    if (isOther) return this.#goOn(going, "what an earlier run had left is committed", false);
    if (isCommitted) return;
    if (ended.code === "source-changed" || ended.code === "config-changed")
      return this.#goOn(going, `what was unfinished cannot go on (${ended.code})`, true);
    this.#tryAgain(going, ended);
  }

  /** Whether the slot is still to be run for: an earlier run was finished, or one of a clock that was wrong. */
  #isOther(slot: string, done: string | null): boolean {
    if (done === null || done < slot) return true;
    return done > slot && isAhead(done, this.#init.clock.date());
  }

  #goOn({ slot, tries, goes, restart }: Going, why: string, discard: boolean): void {
    if (goes >= mostGoes || (discard && restart)) return;
    this.#say(`slot ${slot.toISOString()} is run for${discard ? " anew" : ""}: ${why}`);
    this.#begin(slot, { tries, goes: goes + 1, restart: discard });
  }

  #tryAgain({ slot, tries }: Going, { exitCode, mayHelp }: RunEnded): void {
    const isElsewhere = exitCode === alreadyRunning;
    const waits = isElsewhere && this.#served.schedule.overlap === "wait";
    const millis = waits ? elsewhereMillis : againMillis[tries];
    if (millis === undefined || (!waits && (isElsewhere || !mayHelp))) return;
    this.#say(`slot ${slot.toISOString()} is tried again in ${millis / 1000} s`);
    const next = { ...fresh, tries: waits ? tries : tries + 1 };
    if (waits) this.#waiting = slot;
    this.#callOffAgain = this.#init.clock.after(millis, () => this.#begin(slot, next));
  }

  #note(going: Going, { exitCode, runId, code }: RunEnded, isCommitted: boolean): void {
    const slot = going.slot.toISOString();
    const outcome = outcomeOf({ exitCode, code });
    this.#slots[outcome] += 1;
    const ended = this.#init.clock.date().toISOString();
    this.#last = { slot, outcome, exitCode, runId, ended };
    const why = isCommitted ? `run ${runId}` : `exit ${exitCode}${code ? `, ${code}` : ""}`;
    this.#say(`slot ${slot} ${outcome} (${why})`);
  }

  #skip(slot: Date, why: string): void {
    this.#slots.skipped += 1;
    this.#say(`slot ${slot.toISOString()} is skipped: ${why}`);
  }

  #say(line: string): void {
    this.#init.log(`${this.#served.name}: ${line}`);
  }
}
