/** Commands that fail: by the database, by modules, by logins, and by a store that repeats what it was sent. */
import type { Call } from "../../test/servers/scripted-s3.ts";
import type { Scene } from "./scene.ts";
import type { SecretCase } from "./secret-case.ts";

/** @param sources names of pipelines whose query fails */
export function failures(
  scene: Scene,
  file: (name: string) => string,
  sources: readonly string[],
): SecretCase[] {
  const { store } = scene;
  const wrong = new URL(scene.databaseUrl);
  wrong.password = scene.of("wrongPassword");
  const elsewhere = new URL(scene.databaseUrl);
  elsewhere.pathname = `/${scene.of("misplaced")}`;
  const modules = ["throws", "throws-text", "throws-later", "rejects", "throws-many"];
  const exits: Readonly<Record<string, number>> = { "throws-later": 1, rejects: 1 };
  const few = new Set(["raises", "throws", "throws-later"]);
  const echo = echoFault(scene);
  return [
    ...[...sources, "casts-rows"].map((name) => ({
      name: `the server fails: ${name}`,
      args: ["run", file(`${name}.yaml`), "--debug", "--json"],
      exit: 4,
      ...(few.has(name) && { isFew: true as const }),
    })),
    ...modules.map((name) => ({
      name: `a module fails: ${name}`,
      args: ["run", file(`${name}.yaml`), "--debug", "--json"],
      env: { NODE_OPTIONS: "--report-uncaught-exception" },
      exit: exits[name] ?? 4,
      ...(few.has(name) && { isFew: true as const }),
    })),
    {
      name: "a module fails: throws-at-once",
      args: ["run", file("throws-at-once.yaml"), "--debug"],
      exit: 2,
    },
    {
      name: "a wrong password",
      args: ["run", file("rows.yaml"), "--debug"],
      env: { DATABASE_URL: wrong.href },
      exit: 4,
    },
    {
      name: "a database that is not there",
      args: ["doctor", file("rows.yaml"), "--json"],
      env: { DATABASE_URL: elsewhere.href },
      exit: 4,
    },
    {
      name: "a store that refuses and repeats what it was sent",
      args: ["run", file("refused.yaml"), "--debug", "--json"],
      exit: 5,
      before: () => answerWith(store, "PUT", echo),
      after: () => answerWith(store),
      isFew: true,
    },
    {
      name: "doctor of such a store",
      args: ["doctor", file("refused.yaml")],
      exit: 5,
      before: () => answerWith(store, "GET", echo),
      after: () => answerWith(store),
    },
  ];
}

/** Answers every request of that method so; none when it is absent. */
export function answerWith(
  store: Scene["store"],
  method?: string,
  play?: (call: Call) => void,
): void {
  store.script = play && ((call, early) => (early || call.method !== method ? undefined : play));
}

/** As S3 answers a wrong signature: with the credentials and the text that was signed. */
export const echoFault =
  (scene: Scene) =>
  ({ response, request }: Pick<Call, "response" | "request">): void => {
    const sent = JSON.stringify(request.headers);
    const echoed = scene.of("echoed").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    response.writeHead(403, {
      "content-type": "application/xml",
      "x-amz-id-2": scene.of("misplaced"),
    });
    response.end(
      `<Error><Code>SignatureDoesNotMatch</Code><Message>${echoed}</Message><AWSAccessKeyId>AKIDEXAMPLE` +
        `</AWSAccessKeyId><StringToSign>${sent}</StringToSign><HostId>${echoed}</HostId></Error>`,
    );
  };
