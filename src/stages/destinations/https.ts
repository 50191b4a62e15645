/**
 * Destination `https:` · objects below a folder of a web server: WebDAV, or any receiver that takes PUT and gives GET.
 *
 * takes / gives  whole objects, one PUT each; pieces as they arrive back
 * holds          while listing, the names of one folder for each level of depth; otherwise what the sockets buffer
 * order          puts may run side by side; `list` is in name order
 * ends           a put returns when the server's digest, or its copy read back, agrees with the bytes sent
 * fails          `destination-unreachable` and `destination-failed` (try again), `destination-refused`, `foreign-object`
 */
import type { DestinationOptions } from "./destination.ts";
import type { Session } from "./http-dialect.ts";
import { put } from "./http-put.ts";
import { get } from "./http-read.ts";
import { remove } from "./http-remove.ts";
import { httpsDialect } from "./https-dialect.ts";
import { list } from "./https-listing.ts";
import { connect, targetOf } from "./https-target.ts";
import { type RetryPolicy, patience } from "./retry.ts";
import type { Probed } from "./store-probe.ts";

/** Opens a folder of a web server. @throws PipelineError `config-invalid` for credentials that cannot be sent. */
export const openHttps = async (
  url: URL,
  options: DestinationOptions,
  policy: RetryPolicy = patience,
): Promise<Probed> => {
  const target = targetOf(url, options.https ?? {}, process.env);
  const connection = connect(target, options.timeoutMillis);
  // Names of a template are not folders.
  const { makeFolders: _, ...flat } = httpsDialect;
  const dialect = target.isFolder ? httpsDialect : flat;
  const session: Session = { connection, dialect, policy, conditional: undefined };
  return {
    url: url.href,
    get conditional() {
      return session.conditional;
    },
    put: (object, signal) => put(session, object, signal),
    get: (name, signal) => get(session, name, signal),
    list: (folder, signal) => list(session, target, folder, signal),
    remove: (name, signal) => remove(session, name, signal),
    finish: async () => {},
    close: async () => connection.close(),
  };
};
