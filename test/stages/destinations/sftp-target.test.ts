import assert from "node:assert/strict";
import { targetOf } from "../../../src/stages/destinations/sftp-target.ts";

const key = { privateKey: "a key" };

describe("where SFTP goes", () => {
  it("is read from the URL", () => {
    const target = targetOf(new URL("sftp://me%40x@[::1]:2022/a%20b/c//"), key, {});
    assert.deepEqual(
      [target.host, target.port, target.user, target.root],
      ["::1", 2022, "me@x", "/a b/c"],
    );
    assert.equal(targetOf(new URL("sftp://me@host"), key, {}).port, 22);
  });

  it("is the root, the home or a folder in it", () => {
    const roots = ["", "/", "/~", "/~/", "/~/in/it", "/~other"].map(
      (path) => targetOf(new URL(`sftp://me@host${path}`), key, {}).root,
    );
    assert.deepEqual(roots, ["/", "/", ".", ".", "in/it", "/~other"]);
  });

  it("takes its keys from the environment only where none are given", () => {
    const environment = { SPILLWAY_SFTP_KEY: "theirs", SPILLWAY_SFTP_PASSWORD: "word" };
    const url = new URL("sftp://me@host/");
    const named = targetOf(url, { password: "given" }, environment);
    assert.deepEqual([named.privateKey, named.password], [undefined, "given"]);
    const found = targetOf(url, {}, environment);
    assert.deepEqual([found.privateKey, found.password], ["theirs", "word"]);
  });

  it("is refused without a key or a password, and with a host key that is none", () => {
    const url = new URL("sftp://me@host/");
    for (const environment of [{}, { SPILLWAY_SFTP_KEY: "" }])
      assert.throws(() => targetOf(url, {}, environment), {
        code: "config-invalid",
        message: /needs `privateKey` or `password`/,
      });
    assert.throws(() => targetOf(url, { ...key, hostKey: "SHA256:short" }, {}), {
      code: "config-invalid",
      message: /no fingerprint/,
    });
  });
});
