/** A certificate for a server on this machine, made by `openssl` for the time of a benchmark. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

export interface Certificate {
  readonly path: string;
  /** PostgreSQL's. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Undefined where there is no `openssl`. */
export function makeCertificate(folder: string): Certificate | undefined {
  const [path, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const made = [
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-keyout",
    key,
    "-out",
    path,
  ];
  try {
    execFileSync("openssl", ["req", ...made, ...subject], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  return { path, settings: { ssl: "on", ssl_cert_file: path, ssl_key_file: key } };
}
