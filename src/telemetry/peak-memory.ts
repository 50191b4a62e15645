/** The most memory this process has had resident, in bytes. */
import { readFileSync } from "node:fs";

/**
 * VmHWM where there is one (`man 5 proc`); elsewhere what getrusage tells, which on Linux would also remember the program
 * that started this one.
 */
export function peakRssBytes(): number {
  try {
    const kibibytes = /^VmHWM:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1];
    if (kibibytes !== undefined) return Number(kibibytes) * 1024;
  } catch {
    // No /proc here.
  }
  return process.resourceUsage().maxRSS * 1024;
}
