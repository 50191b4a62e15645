import assert from "node:assert/strict";
import { readMysqlUrl } from "../../../src/stages/sources/mysql-url.ts";

describe("a URL of MySQL", () => {
  it("means this machine and the usual port where it says nothing", async () => {
    assert.deepEqual(await readMysqlUrl("mysql:///"), {
      host: "localhost",
      port: 3306,
      user: "",
      password: "",
      tls: "disabled",
    });
  });

  it("names host, port, socket, database and login, escaped or not", async () => {
    const read = await readMysqlUrl("mysql://a%40b:p%25@[::1]:3307/d%2Fb?socket=/run/my.sock");
    assert.deepEqual(read, {
      host: "::1",
      port: 3307,
      socketPath: "/run/my.sock",
      user: "a@b",
      password: "p%",
      database: "d/b",
      tls: "disabled",
    });
  });

  it("has a server elsewhere verified unless it says otherwise", async () => {
    assert.equal((await readMysqlUrl("mysql://db.example/x")).tls, "verify_identity");
    assert.equal((await readMysqlUrl("mysql://db.example/x?ssl-mode=required")).tls, "required");
    const here = await readMysqlUrl(`mysql://localhost/x?ssl-ca=${import.meta.filename}`);
    assert.equal(here.tls, "verify_identity");
    assert.match(here.ca!, /a URL of MySQL/);
  });

  for (const [what, url, why] of [
    ["is none", "no url of secret", /it is no URL/],
    ["asks for what nobody knows", "mysql://h/d?secret=1", /ssl-mode, ssl-ca and socket alone/],
    ["knows another mode", "mysql://h/d?ssl-mode=secret", /must be verify_identity/],
    ["is not escaped", "mysql://u:secret%@h/d", /written `%25`/],
    ["names a file that is not there", "mysql://h/d?ssl-ca=/secret/ca", /cannot be read/],
  ] as const) {
    it(`that ${what} is refused and not quoted`, async () => {
      await assert.rejects(readMysqlUrl(url), ({ code, message }: { code: string } & Error) => {
        assert.equal(code, "config-invalid");
        assert.match(message, why);
        return !message.includes("secret");
      });
    });
  }
});
