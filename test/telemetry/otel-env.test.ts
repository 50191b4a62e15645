import assert from "node:assert/strict";
import { endpointOf } from "../../src/telemetry/otlp-endpoint.ts";
import { countSetting, pairsOf, telemetryEnv } from "../../src/telemetry/otel-env.ts";
import { samplerOf } from "../../src/telemetry/light-sampler.ts";

describe("variables of OpenTelemetry", () => {
  it("hold pairs that are decoded where they are encoded, and stay as they are elsewhere", () => {
    const pairs = pairsOf("key=a%20b, broken=100%, =nameless, alone, a%2Cb=c%3Dd");
    assert.deepEqual(pairs, { key: "a b", broken: "100%", "a,b": "c=d" });
  });

  it("serve metrics on this machine alone where only a port is given", () => {
    const hostOf = (prometheus: string) =>
      telemetryEnv({ prometheus }, {})?.["OTEL_EXPORTER_PROMETHEUS_HOST"];
    assert.equal(hostOf("9464"), "127.0.0.1");
    assert.equal(hostOf("[::1]:9464"), "::1");
  });

  it("name a collector for all signals, each with a path of its own, or one for a signal", () => {
    const urlOf = (all: string, own?: string) =>
      endpointOf(
        { OTEL_EXPORTER_OTLP_ENDPOINT: all, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: own },
        "TRACES",
      ).url.href;
    assert.equal(urlOf("http://host:4318"), "http://host:4318/v1/traces");
    assert.equal(urlOf("http://host:4318/a//\n"), "http://host:4318/a/v1/traces");
    assert.equal(urlOf("https://host?key=a/b"), "https://host/v1/traces?key=a/b");
    assert.equal(urlOf("https://host", "http://other/as/it/is?key"), "http://other/as/it/is?key");
    assert.equal(urlOf("", ""), "http://localhost:4318/v1/traces");
  });

  it("hold no more milliseconds than timers take, which are called at once for more", () => {
    const asked = (value: string) => countSetting({ value }, "value", 7);
    assert.deepEqual(["250", "0", "-1", "1.5", "soon", ""].map(asked), [250, 7, 7, 7, 7, 7]);
    for (const endless of ["2147483648", "9999999999"]) assert.equal(asked(endless), 2147483647);
  });

  it("name a share of traces, or all of them where it is none", () => {
    const describe = (share: string) =>
      samplerOf(
        { OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: share },
        assert.fail,
      ).toString();
    assert.equal(describe("0.25"), "TraceIdRatioBased{0.25}");
    for (const wrong of ["2", "-1", "many"]) assert.equal(describe(wrong), "TraceIdRatioBased{1}");
  });
});
