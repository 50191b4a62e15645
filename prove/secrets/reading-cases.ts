/** Commands of the recipient, before exports that are whole, refused or damaged, and those that make keys and pipelines. */
import { join } from "node:path";
import { answerWith, echoFault } from "./failing-cases.ts";
import { bucket, type Scene } from "./scene.ts";
import type { SecretCase } from "./secret-case.ts";

export function readings(scene: Scene, file: (name: string) => string): SecretCase[] {
  const out = join(scene.folder, "out", "rows");
  const key = ["-i", file("key.txt")];
  const store = `s3://${bucket}/clinic/whole`;
  const { store: server } = scene;
  return [
    { name: "verify", args: ["verify", out, ...key, "--json"], exit: 0 },
    { name: "verify of a store", args: ["verify", store, ...key], exit: 0 },
    { name: "ls", args: ["ls", out, "--json"], exit: 0 },
    { name: "cat", args: ["cat", out, ...key], exit: 0, printsRows: true },
    {
      name: "cat --json",
      args: ["cat", store, ...key, "--json"],
      exit: 0,
      printsRows: true,
      isFew: true,
    },
    {
      name: "restore to a stream",
      args: ["restore", store, ...key, "--to", "-"],
      exit: 0,
      printsRows: true,
    },
    {
      name: "restore",
      args: ["restore", store, ...key, "--to", join(scene.folder, "restored"), "--json"],
      exit: 0,
      isFew: true,
    },
    {
      name: "cat by another's key",
      args: ["cat", store, "-i", file("other.txt"), "--debug"],
      exit: 6,
    },
    {
      name: "cat by a file that is no key",
      args: ["cat", store, "-i", file("misplaced"), "--debug"],
      exit: 2,
    },
    {
      name: "verify by a file that is no signer",
      args: ["verify", store, "--signer", file("misplaced"), "--debug"],
      exit: 2,
    },
    {
      name: "verify of a store that refuses",
      args: ["verify", store, ...key, "--json", "--debug"],
      exit: 5,
      before: () => answerWith(server, "GET", echoFault(scene)),
      after: () => answerWith(server),
    },
    ...makings(scene),
    {
      name: "verify of a damaged export",
      args: ["verify", store, ...key, "--json", "--debug"],
      exit: 6,
      before: () => damage(scene),
    },
    {
      name: "restore of a damaged export",
      args: ["restore", store, ...key, "--to", "-", "--debug"],
      exit: 6,
      printsRows: true,
    },
  ];
}

const makings = (scene: Scene): SecretCase[] => [
  {
    name: "keygen",
    args: ["keygen", "--signing", join(scene.folder, "state", "new"), "--json"],
    exit: 0,
  },
  {
    name: "init",
    args: ["init", join(scene.folder, "cwd", "made"), "--recipient", scene.recipient],
    exit: 0,
  },
];

function damage({ store }: Scene): void {
  const [name = ""] = [...store.objects.keys()].filter((key) =>
    key.endsWith("00000001.ndjson.zst.age"),
  );
  const bytes = Buffer.from(store.objects.get(name)!.bytes);
  bytes[bytes.length >> 1]! ^= 1;
  store.objects.set(name, { bytes, meta: {} });
}
