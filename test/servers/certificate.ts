/** A certificate for servers on this machine, which nobody vouches for, and the same server behind TLS. */
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createServer, type TLSSocket } from "node:tls";

export interface Certificate {
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
}

/** Makes one in the folder, for `localhost` and 0.0.0.0; undefined where there is no `openssl`. */
export function makeCertificate(folder: string): Certificate | undefined {
  const made = { certificate: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:0.0.0.0"];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const args = [...kind, "-days", "2", ...names, "-keyout", made.key, "-out", made.certificate];
  try {
    execFileSync("openssl", ["req", ...args], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  return made;
}

export interface TlsFront {
  readonly port: number;
  stop(): Promise<void>;
}

/** Takes TLS on a free port of this machine and passes what is said to a server that has none. */
export async function startTlsFront(port: number, files: Certificate): Promise<TlsFront> {
  const [cert, key] = await Promise.all([readFile(files.certificate), readFile(files.key)]);
  const sockets = new Set<TLSSocket>();
  const front = createServer({ cert, key }, (socket) => {
    const behind = connect(port, "127.0.0.1");
    sockets.add(socket);
    socket.on("error", () => behind.destroy()).on("close", () => sockets.delete(socket));
    behind.on("error", () => socket.destroy());
    socket.pipe(behind).pipe(socket);
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  return {
    port: (front.address() as AddressInfo).port,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => front.close(resolve));
    },
  };
}
