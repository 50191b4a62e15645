/** OTEL_TRACES_SAMPLER and its argument as a sampler of the SDK. */
import type { Sampler, SamplingResult } from "@opentelemetry/sdk-trace";
import type { Env } from "./otel-env.ts";
import { loadSdkTrace } from "./light-packages.ts";

const on = (): Sampler => new (loadSdkTrace().AlwaysOnSampler)();
const off = (): Sampler => new (loadSdkTrace().AlwaysOffSampler)();
const ratio = (share: number): Sampler => new (loadSdkTrace().TraceIdRatioBasedSampler)(share);
const parentBased = (root: Sampler): Sampler => new (loadSdkTrace().ParentBasedSampler)({ root });

const samplers: Readonly<Record<string, (share: number) => Sampler>> = {
  always_on: on,
  always_off: off,
  traceidratio: ratio,
  parentbased_always_on: () => parentBased(on()),
  parentbased_always_off: () => parentBased(off()),
  parentbased_traceidratio: (share) => parentBased(ratio(share)),
};

export const neverSample = off;

/** None of these samplers looks at more than the trace and its parent's decision: one answer holds for a whole trace. */
function onceATrace(sampler: Sampler): Sampler {
  let known: string | undefined;
  let result: SamplingResult;
  return {
    shouldSample(context, traceId, ...rest) {
      if (traceId !== known) result = sampler.shouldSample(context, traceId, ...rest);
      known = traceId;
      return result;
    },
    toString: () => sampler.toString(),
  };
}

/** The sampler `env` names; every trace without one, and with a warning for an unknown name. */
export function samplerOf(env: Env, warn: (message: string) => void): Sampler {
  const name = env["OTEL_TRACES_SAMPLER"] || "parentbased_always_on";
  const share = Number(env["OTEL_TRACES_SAMPLER_ARG"] || 1);
  const make = Object.hasOwn(samplers, name) ? samplers[name] : undefined;
  if (!make) warn(`OTEL_TRACES_SAMPLER: \`${name}\` is not known; every trace is sampled`);
  return onceATrace(make ? make(share >= 0 && share <= 1 ? share : 1) : parentBased(on()));
}
