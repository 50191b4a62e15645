import assert from "node:assert/strict";
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
    const nowhere = () => telemetryEnv({ prometheus: "127.0.0.1:0" }, {});
    assert.throws(nowhere, { code: "config-invalid" });
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
