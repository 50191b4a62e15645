/** What a store does to an exporter by chance, as a seed says: faults of single requests, and a count of what they cost. */
import * as http from "../../test/servers/http-faults.ts";
import { type Call, type Fault, type ScriptedS3, refuse } from "../../test/servers/scripted-s3.ts";

type Play = Fault["play"];

export interface Mischief {
  /** Of how many requests one fails: 0 none, 1 all. */
  chance: number;
  /** Faults of one object or page of a listing that make an attempt fail, at most; what comes behind them works. */
  readonly mostEach: number;
  /** Whether credentials may expire, which ends a run, and answers come twice, which harms the next request. */
  readonly isStorm: boolean;
}

export interface Toll {
  /** Uploads that were stored and whose answer was lost. */
  lost: number;
  /** Objects that were stored. */
  stored: number;
  faults: number;
  /** Names that were given other bytes than they had. */
  readonly overwritten: string[];
  /** Ends the mischief. */
  end(): void;
}

/** Lays the mischief before the store, until it is ended. */
export function makeMischief(store: ScriptedS3, random: () => number, mischief: Mischief): Toll {
  const suffered = new Map<string, number>();
  const set = store.objects.set.bind(store.objects);
  const toll: Toll = {
    lost: 0,
    stored: 0,
    faults: 0,
    overwritten: [],
    end() {
      store.script = undefined;
      store.objects.set = set;
    },
  };
  store.objects.set = (key, object) => {
    const before = store.objects.get(key);
    if (before && !before.bytes.equals(object.bytes)) toll.overwritten.push(key);
    toll.stored += 1;
    return set(key, object);
  };
  const losing =
    (play: http.Play): Play =>
    (call) => {
      play(call);
      if (call.response.statusCode === 200) toll.lost += 1;
    };
  store.script = (call, early) => {
    const earlyShare = call.method === "PUT" ? 0.1 : 0;
    if (random() >= mischief.chance * (early ? earlyShare : 1)) return undefined;
    const name = `${call.key} ${call.query.get("continuation-token")}`;
    const before = suffered.get(name) ?? 0;
    if (before >= mischief.mostEach) return undefined;
    suffered.set(name, before + 1);
    toll.faults += 1;
    if (early) return http.cutRequest(Math.floor(random() * 4000));
    if (mischief.isStorm && random() < 0.002) return says(400, "ExpiredToken");
    if (mischief.isStorm && random() < 0.05) return http.rewrite((text) => text + text);
    return pick(random, call.method === "PUT" ? storing(random, losing) : asking(random));
  };
  return toll;
}

const says = (status: number, code: string) => (call: Call) => refuse(call.response, status, code);

const pick = <T>(random: () => number, from: readonly T[]): T =>
  from[Math.floor(random() * from.length)]!;

/** Half of them, and more, lose the answer to an upload that was stored. */
function storing(random: () => number, losing: (play: http.Play) => Play): Play[] {
  const cut = () =>
    losing(http.cutAnswer(Math.floor(random() * 100), pick(random, ["end", "reset"])));
  return [
    ...Array.from({ length: 8 }, () => losing(http.serveUnheard)),
    ...Array.from({ length: 4 }, cut),
    http.hangUp,
    says(503, "SlowDown"),
    says(500, "InternalError"),
    http.answerWith(429, { "retry-after": "0" }),
    says(409, "ConditionalRequestConflict"),
    says(200, "InternalError"),
    http.answerWith(200, {}, "<html></html>"),
    says(400, "BadDigest"),
    http.rewrite((text) => text.replace(/etag: [^\r]*\r\n/i, "")),
    http.rewrite((text) => text.replace(/etag: [^\r]*/i, `etag: "${"0".repeat(32)}"`)),
  ];
}

function asking(random: () => number): Play[] {
  return [
    http.hangUp,
    http.serveUnheard,
    says(503, "SlowDown"),
    says(500, "InternalError"),
    http.answerWith(429, { "retry-after": "0" }),
    http.cutAnswer(Math.floor(random() * 3000), "end"),
    http.cutAnswer(Math.floor(random() * 3000), "reset"),
  ];
}
