/** What a trial of the proof of sources does to a read that is under way. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import type { TcpProxy } from "../../test/servers/tcp-proxy.ts";
import type { Gate } from "./pipeline.ts";

export interface Scene {
  /** Between the export and the server. */
  readonly proxy: TcpProxy;
  readonly gate: Gate;
  /** The server itself, for administrators. */
  readonly serverUrl: string;
  /** `application_name` of the export's connections. */
  readonly application: string;
  readonly random: () => number;
  /** Bytes of the server that an undisturbed read brings. */
  readonly answerBytes: number;
}

export interface Harm {
  readonly name: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  /** Is called once, when the read begins: what it does at once, or waits for a moment to do. */
  do(scene: Scene): Promise<void>;
  /** Nothing more arrives after it: how long the export takes to notice is measured. */
  readonly silences?: true;
  /** It only slows the read down, which must then come to its end. */
  readonly harmless?: true;
}

/** Waits for a random moment of the read: so many bytes of its answer have passed. */
async function someMoment({ proxy, random, answerBytes }: Scene): Promise<void> {
  const bytes = random() * answerBytes;
  for (let left = 2000; left > 0 && proxy.bytesToClient < bytes; left -= 1) await sleep(1);
}

const at = (work: (scene: Scene) => unknown) => async (scene: Scene) => {
  await someMoment(scene);
  await work(scene);
};

/** What an administrator can do to the backend of the export. */
const signalBackend =
  (call: string) =>
  async ({ serverUrl, application }: Scene) => {
    const client = new Client({ connectionString: serverUrl });
    await client.connect();
    try {
      await client.query(`select ${call}(pid) from pg_stat_activity where application_name = $1`, [
        application,
      ]);
    } finally {
      await client.end();
    }
  };

/** Does `work` while the export takes nothing. */
const whilePaused = (work: (scene: Scene) => unknown) =>
  at(async (scene) => {
    scene.gate.shut();
    await sleep(50 + 200 * scene.random());
    await work(scene);
    await sleep(50 * scene.random());
    scene.gate.open();
  });

/** Longer than any limit of the role `limited`. */
const pause = whilePaused(() => sleep(1300));

export const harms: readonly Harm[] = [
  { name: "backend terminated", weight: 40, do: at(signalBackend("pg_terminate_backend")) },
  {
    name: "backend terminated while paused",
    weight: 10,
    do: whilePaused(signalBackend("pg_terminate_backend")),
  },
  { name: "query cancelled", weight: 10, do: at(signalBackend("pg_cancel_backend")) },
  { name: "reset", weight: 10, do: at(({ proxy }) => proxy.reset()) },
  { name: "ended", weight: 10, do: at(({ proxy }) => proxy.end()) },
  {
    name: "cut at byte n",
    weight: 15,
    do: async ({ proxy, random, answerBytes }) => proxy.cutAfter(Math.ceil(random() * answerBytes)),
  },
  {
    name: "black hole",
    weight: 4,
    silences: true,
    do: at(({ proxy }) => (proxy.mode = "black-hole")),
  },
  {
    name: "black hole to the client",
    weight: 4,
    silences: true,
    do: at(({ proxy }) => proxy.loseExisting("to-client lost")),
  },
  {
    name: "black hole to the server",
    weight: 4,
    silences: true,
    do: at(({ proxy }) => (proxy.mode = "to-server lost")),
  },
  { name: "half-open", weight: 4, silences: true, do: at(({ proxy }) => proxy.forgetClients()) },
  {
    name: "dribble",
    weight: 5,
    harmless: true,
    do: at(async ({ proxy, random }) => {
      proxy.dribble(2);
      await sleep(500 * random());
      proxy.dribble(0);
    }),
  },
  { name: "reset while paused", weight: 10, do: whilePaused(({ proxy }) => proxy.reset()) },
  { name: "pause beyond the server's limits", weight: 5, harmless: true, do: pause },
  { name: "nothing", weight: 1, harmless: true, do: () => Promise.resolve() },
];

/** A harm by its weight. */
export function chooseHarm(random: () => number): Harm {
  const total = harms.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const harm of harms) if ((left -= harm.weight) < 0) return harm;
  return harms[0]!;
}
