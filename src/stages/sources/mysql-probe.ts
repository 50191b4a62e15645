/** What `doctor` asks of a MySQL or MariaDB server: the login, the snapshot and the query, as a run would. Reads no row. */
import { PipelineError } from "../../errors.ts";
import { doubt, fault, good, type Finding } from "../finding.ts";
import { staysOnThisMachine } from "../this-machine.ts";
import { prepare, type MysqlConfig } from "./mysql.ts";
import { openSession } from "./mysql-session.ts";
import { beginSnapshot } from "./mysql-snapshot.ts";
import { readMysqlUrl, type MysqlPlace } from "./mysql-url.ts";

/** Longest wait for one answer. */
const answerMillis = 5000;

export async function* probeMysql(
  { url, query, params, connectTimeout, timeout }: MysqlConfig,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  let check = "server";
  try {
    const place = await readMysqlUrl(url);
    const options = {
      place,
      connectMillis: Math.min(connectTimeout, answerMillis),
      answerMillis: Math.min(timeout, answerMillis),
    };
    const session = await openSession(options, signal);
    try {
      const warnings: string[] = [];
      const log = { info() {}, warn: (text: string) => void warnings.push(text) };
      const { proof } = await beginSnapshot(session, query, log);
      yield good("server", `${String(proof["server"])}; the login works`);
      yield describeTls(place);
      check = "query";
      const { columns } = await prepare(session, query, params.length);
      yield good("query", `gives ${columns.length} column${columns.length === 1 ? "" : "s"}`);
      for (const text of warnings)
        yield doubt("snapshot", text, "use an engine with snapshots, such as InnoDB");
    } finally {
      await session.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof PipelineError)) throw error;
    yield fault(check, error);
  }
}

function describeTls({ tls, host, socketPath }: MysqlPlace): Finding {
  if (tls === "verify_identity")
    return good("TLS", "encrypted; certificate and host name are verified");
  if (tls === "required")
    return doubt(
      "TLS",
      "encrypted, but the certificate is not verified",
      "whoever stands between can pose as the server; use `ssl-mode=verify_identity`",
    );
  if (socketPath !== undefined || staysOnThisMachine(host))
    return good("TLS", "none; the server is on this machine");
  return doubt(
    "TLS",
    "declined by `url`",
    "rows and password can be read on the way; leave `ssl-mode=disabled` out",
  );
}
