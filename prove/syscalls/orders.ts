/** What a command is told that is to be killed, or to meet a failing disk, at one operation. */

export const ordersVariable = "SPILLWAY_PROVE_SYSCALLS";

/**
 * `half` is a write that takes half of what it is given, which is not an error. `full`: from then on nothing on that disk
 * finds room; `half-full` begins with half a write.
 */
export const faults = ["EIO", "ENOSPC", "EDQUOT", "full"] as const;
export const writeFaults = ["half", "half-full"] as const;
export const kills = ["kill-before", "kill-after"] as const;
export const writeKills = ["kill-half"] as const;

export type Act =
  | (typeof faults)[number]
  | (typeof writeFaults)[number]
  | (typeof kills)[number]
  | (typeof writeKills)[number];

export interface Orders {
  /** Folders whose files are watched, by the name they have in points. */
  readonly roots: Readonly<Record<string, string>>;
  /** Where every operation is noted while no point is given; else `reached`, when it was. */
  readonly log: string;
  readonly at?: string;
  readonly act?: Act;
}
