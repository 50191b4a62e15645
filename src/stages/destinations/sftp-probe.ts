/** What `doctor` asks of an SSH server. */
import { doubt, good, type Finding } from "../finding.ts";
import type { ProbeDestination } from "./destination.ts";
import { type SftpDestination, openSftp } from "./sftp.ts";
import { probePatience, probeStore } from "./store-probe.ts";

export const probeSftp: ProbeDestination = async function* (url, asked) {
  let store: SftpDestination | undefined;
  yield* probeStore(
    asked,
    async (options) => (store = await openSftp(url, options, probePatience)),
  );
  if (store) yield* describe(store);
};

function* describe({ synced }: SftpDestination): Generator<Finding> {
  if (synced === true) yield good("syncing", "files are synced (fsync@openssh.com)");
  if (synced === false)
    yield doubt(
      "syncing",
      "the server does not sync files when asked (fsync@openssh.com)",
      "pages it acknowledged may be lost with its power; `verify` finds them missing",
    );
}
