/**
 * Secrets that stand in a pipeline's file itself. A file is copied, committed and shown to others, so there a secret is
 * a reference, or it is refused. In code it is a value of the running program like any other.
 */
import type { Pipeline } from "./define.ts";
import { problemsError, type Path, type Problem } from "./problems.ts";
import { isSecretName, walkTexts, withoutReferences, type FieldFacts } from "./references.ts";

/** Settings that are addresses: their host and path may stand in the file, a password in them may not. */
const addresses = new Set(["url", "otlp", "endpoint", "to"]);

/** What PostgreSQL's and other drivers take as secrets in the query of a URL. */
const secretQuery =
  /[?&;](?:[a-z_-]*(?:pass(?:word|phrase)?|secret|token)|api[_-]?key|sig(?:nature)?)=[^&;]/i;

/**
 * Refuses a file that holds a password, a key or a passphrase; defaults of references (`${env:NAME:-…}`) are part of it.
 * @throws PipelineError `config-invalid` with the place of each, never with what stands there.
 */
export function refuseLiteralSecrets(
  { spec, locate }: Pipeline,
  field: (path: Path) => FieldFacts,
): void {
  if (!locate) return;
  const problems: Problem[] = [];
  for (const { path, text } of walkTexts(spec)) {
    const written = withoutReferences(text);
    const name = path.findLast((part) => typeof part === "string");
    const isAddress = addresses.has(String(name));
    if (isAddress ? holdsPassword(written) : written !== "" && isSecret(path, name, field))
      problems.push({ path, message: isAddress ? useInAddress : useReference(String(name)) });
  }
  if (problems.length > 0) throw problemsError(problems, locate);
}

const isSecret = (path: Path, name: unknown, field: (path: Path) => FieldFacts): boolean =>
  isSecretName(name) || field(path).isSecret;

const useReference = (name: string): string => {
  const variable = name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
  return `a secret stands in the file; expected a reference such as \${env:${variable}} or \${file:./secrets/${name}}`;
};

const useInAddress =
  "a password stands in the file; expected the whole address or the password as a reference, " +
  "such as ${env:DATABASE_URL} or postgres://user:${env:PGPASSWORD}@host/database";

function holdsPassword(address: string): boolean {
  const url = URL.parse(address);
  if (secretQuery.test(address)) return true;
  // A password with `/` or `@` in it is no URL, and still a password.
  return url ? url.password !== "" : /:\/\/[^@]*:[^@]+@/.test(address);
}
