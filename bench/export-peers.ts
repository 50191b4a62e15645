/** Programs that people use instead, where this machine has them: they take part in `bench/export`, each with what it can do. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Contender } from "./contest.ts";

const has = (program: string) => spawnSync("which", [program]).status === 0;

interface PeerPlace {
  readonly folder: string;
  readonly url: string;
  readonly query: string;
  /** Prints the rows as CSV. */
  readonly csv: string;
}

/**
 * `rclone` (Debian's) compresses nothing and seals with its own `crypt`; `sling` (PyPI's `sling-linux-amd64` holds the program)
 * compresses and does not encrypt. Neither syncs, checks or signs.
 */
export function peersOf({ folder, url, query, csv }: PeerPlace): Record<string, Contender> {
  const sealed = join(folder, "rclone");
  const crypt = `RCLONE_CONFIG_SEALED_TYPE=crypt RCLONE_CONFIG_SEALED_REMOTE='${sealed}' RCLONE_CONFIG_SEALED_PASSWORD="$(rclone obscure bench)"`;
  const files = join(folder, "sling");
  const options = JSON.stringify({ compression: "zstd", file_max_bytes: 2 ** 20 });
  const sling = (format: "csv" | "jsonl", name: string): Contender => ({
    name: `sling: ${name}, zstd, files of 1 MiB, not encrypted`,
    script:
      `sling run --src-conn '${url}?sslmode=disable' --src-stream '${query}' ` +
      `--tgt-object 'file://${files}/rows.${format}' --tgt-options '${options}' > /dev/null 2>&1`,
    leaves: files,
  });
  return {
    ...(has("rclone") && {
      rclone: {
        name: "psql COPY csv | zstd -1 | rclone rcat crypt",
        script: `${csv} | zstd -q -1 | ${crypt} rclone -q rcat sealed:rows.csv.zst`,
        leaves: sealed,
      },
    }),
    ...(has("sling") && {
      slingCsv: sling("csv", "csv"),
      slingJson: sling("jsonl", "JSON lines"),
    }),
  };
}
