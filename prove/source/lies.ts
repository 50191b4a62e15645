/**
 * A server that loses rows, doubles them, states another number of them than it sent, or ends its backend as a standby does
 * whose primary removed what the query reads: each must be found.
 */
import { startMessageProxy } from "../../test/servers/lossy-proxy.ts";
import { attempt, type Outcome, pickOf, type Trial } from "./trial.ts";
import { leftIn, makeExport, paths } from "./pipeline.ts";
import { queries } from "./server.ts";

const dataRow = 0x44;
const copyData = 0x64;
const commandComplete = 0x43;

type Lie = (message: Buffer) => Buffer | undefined;

/** Lies about one row of the table, or about how many there were. */
const lies: Readonly<Record<string, (row: number) => Lie>> = {
  "row lost": (row) => onRow(row, () => undefined),
  "row doubled": (row) => onRow(row, (message) => Buffer.concat([message, message])),
  "conflict with recovery": (row) => onRow(row, () => conflict),
  "count too small": () => onTag((rows) => rows - 1),
  "count too large": () => onTag((rows) => rows + 1),
};

/** As a standby says it: the backend ends, though the code is one of those after which a statement may be tried again. */
const conflict = errorResponse({ S: "FATAL", V: "FATAL", C: "40001", M: "terminating connection" });

function errorResponse(fields: Readonly<Record<string, string>>): Buffer {
  const texts = Object.entries(fields).map(([type, text]) => `${type}${text}\0`);
  const body = Buffer.from(`${texts.join("")}\0`);
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

function onRow(row: number, lie: Lie): Lie {
  let seen = 0;
  return (message) => {
    if (!isRowOfTable(message)) return message;
    seen += 1;
    return seen === row ? lie(message) : message;
  };
}

/** A payload of the table is 32 hexadecimal digits at least; nothing the server says of itself is. */
const isRowOfTable = (message: Buffer): boolean =>
  (message[0] === dataRow || message[0] === copyData) &&
  /[0-9a-f]{32}/.test(message.toString("latin1"));

/** What is stated once rows of the table came: by a cursor, of the last of them alone. */
function onTag(change: (rows: number) => number): Lie {
  let begun = false;
  return (message) => {
    begun ||= isRowOfTable(message);
    if (!begun || message[0] !== commandComplete) return message;
    const match = /^(SELECT|COPY) (\d+)$/.exec(message.toString("latin1", 5, message.length - 1));
    if (!match) return message;
    const tag = Buffer.from(`${match[1]} ${change(Number(match[2]))}\0`);
    const head = Buffer.from([commandComplete, 0, 0, 0, 0]);
    head.writeInt32BE(4 + tag.length, 1);
    return Buffer.concat([head, tag]);
  };
}

export async function proveLies({ stage, home, random }: Trial): Promise<Outcome> {
  const path = pickOf(paths, random);
  const what = pickOf(Object.keys(lies), random);
  const row = 1 + Math.floor(random() * 1000);
  const port = Number(new URL(stage.serverUrl).port);
  const proxy = await startMessageProxy(port, lies[what]!(row));
  const url = stage.serverUrl.replace(/:\d+\//, `:${proxy.port}/`);
  const made = makeExport({ home, url, query: queries.plain, path });
  try {
    const error = await attempt(made);
    if (!error) throw new Error(`${what}, ${path}: nobody noticed`);
    if (!/states \d+ rows|40001/.test(error.message))
      throw new Error(`${what}, ${path}: another failure: ${error.message}`);
    if ((await leftIn(made.folder)).length === 0) throw new Error(`${what}: the spool is gone`);
    return { what: `${what}, ${path}: found` };
  } finally {
    await proxy.close();
  }
}
