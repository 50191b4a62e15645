/** Whether the collector answers. An export does not depend on it, so nothing here fails but a wrong setting. */
import { isAbort, systemCode } from "../../errors.ts";
import { doubt, good, type Finding } from "../../stages/finding.ts";
import { exporters, otlpSetting, telemetryEnv } from "../../telemetry/otel-env.ts";
import { endpointOf } from "../../telemetry/otlp-endpoint.ts";
import { createOtlpClient } from "../../telemetry/otlp-http.ts";
import type { Examined } from "./examined.ts";

const answerMillis = 3000;
const nothing = Buffer.from('{"resourceSpans":[]}');

export async function* examineCollector({ plan, env, signal }: Examined): AsyncGenerator<Finding> {
  const asked = telemetryEnv(plan.telemetry, env);
  if (!asked || !exporters(asked, "TRACES").includes("otlp")) {
    yield good("collector", asked ? "none is asked for traces" : "telemetry is off");
    return;
  }
  if (plan.telemetry?.sdk === "node" && otlpSetting(asked, "TRACES", "PROTOCOL") === "grpc") {
    yield good("collector", "is told by gRPC, which is not tried here");
    return;
  }
  const endpoint = endpointOf(asked, "TRACES");
  const { origin } = endpoint.url;
  const client = createOtlpClient({ ...endpoint, timeoutMillis: answerMillis });
  const leave = () => client.close();
  signal.addEventListener("abort", leave, { once: true });
  try {
    client.hurry();
    await client.post(nothing);
    yield good("collector", `${origin} takes traces`);
  } catch (error) {
    yield doubt(
      "collector",
      `${origin} does not take traces (${reasonOf(error)})`,
      "the export runs all the same, unseen; check the endpoint, its headers and that the collector is up",
    );
  } finally {
    signal.removeEventListener("abort", leave);
    client.close();
  }
}

/** A code of Node's, or the client's own words for an answer. */
const reasonOf = (error: unknown): string =>
  isAbort(error) ? "no answer" : (systemCode(error) ?? (error as Error).message);
