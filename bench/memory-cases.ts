/** What `bench/memory` runs: sizes, widths, and what can be switched on. */
import { formatBytes } from "../src/stages/atoms.ts";

export interface MemoryCase {
  readonly name: string;
  readonly query: string;
  readonly telemetry: "off" | "light" | "node";
  readonly to?: "folder" | "s3";
  readonly tls?: boolean;
}

const MB = 1e6;

/** The table of results once, a tenth of it, and ten times. */
export function sizeCases(rows: number, largestGB: number): MemoryCase[] {
  const telemetry = "light";
  const sizes: MemoryCase[] = [
    {
      name: "results, 0.1 GB",
      query: `select * from results limit ${Math.round(rows / 10)}`,
      telemetry,
    },
    { name: "results, 1 GB", query: "select * from results", telemetry },
  ];
  if (largestGB > 1) {
    const times = Math.round(largestGB);
    const query = `select r.* from results r cross join generate_series(1, ${times})`;
    sizes.push({ name: `results, ${times} GB`, query, telemetry });
  }
  return sizes;
}

/** Rows from 20 B to 20 MB, and one that grows a hundredfold in the middle of the result. */
export function widthCases(totalMB: number): MemoryCase[] {
  const telemetry = "light";
  const widths = [20, 300, 2000, 20_000, 200_000, 1_000_000, 20_000_000];
  const half = totalMB / 2;
  return [
    ...widths.map((width): MemoryCase => {
      const name = `rows of ${formatBytes(width)}, ${totalMB} MB`;
      return { name, query: rowsOf(width, totalMB), telemetry };
    }),
    {
      name: "300 B rows, then 30 KB rows",
      query: `select * from (${rowsOf(300, half)}) a union all select * from (${rowsOf(30_000, half)}) b`,
      telemetry,
    },
    {
      name: "30 KB rows, then 300 B rows",
      query: `select * from (${rowsOf(30_000, half)}) a union all select * from (${rowsOf(300, half)}) b`,
      telemetry,
    },
  ];
}

/** Everything off, then one thing on after another. */
export function partCases(rows: number): MemoryCase[] {
  const [one, whole] = ["select * from results limit 1", `select * from results limit ${rows}`];
  return [
    { name: "one row", query: one, telemetry: "off" },
    { name: "whole table", query: whole, telemetry: "off" },
    { name: "whole table", query: whole, telemetry: "light" },
    { name: "whole table", query: whole, telemetry: "node" },
    { name: "whole table", query: whole, telemetry: "off", to: "s3" },
    { name: "whole table", query: whole, telemetry: "light", to: "s3" },
    { name: "whole table over TLS", query: whole, telemetry: "light", to: "s3", tls: true },
  ];
}

/** Rows of about `width` bytes, `totalMB` in all; text that compresses about as records do. */
function rowsOf(width: number, totalMB: number): string {
  const rows = Math.max(1, Math.round((totalMB * MB) / width));
  const text =
    width < 60 ? "'x'" : `repeat(md5(i::text), ${Math.max(1, Math.round((width - 30) / 32))})`;
  return `select i as id, ${text} as body from generate_series(1, ${rows}) i`;
}
