"""What is refused of a bundle at load, and what its digest covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.bus.policy.bundle import bundle_digest, load_bundle, policy_bundle_digest, read_tests
from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.rego_source import Module
from tests.bus.policy.bundles import MAIN, POLICIES, written

HEAD = "package interlock.extra\n\nimport rego.v1\n\n"


def refusal(place: Path, **modules: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_bundle(written(place, **modules))
    return caught.value


@pytest.mark.parametrize(
    ("rule", "reason", "told"),
    [
        ("ok if not foo.bar(1)", "policy_unknown_builtin", "extra.rego:5: `foo.bar`"),
        ("ok if not contain(input.hop.intent, 1)", "policy_unknown_builtin", "`contain`"),
        ("ok if strings.render_template(1, 2)", "policy_unknown_builtin", "strings.render_template"),
        ("ok if time.now_ns() > 0", "policy_forbidden", "`time.now_ns`"),
        ("ok if rand.intn(input.hop.intent, 2) == 1", "policy_forbidden", "`rand.intn`"),
        ("env := opa.runtime().env", "policy_forbidden", "`opa.runtime`"),
        ('r := http.send({"url": "x"})', "policy_forbidden", "`http.send`"),
        ('r := net.lookup_ip_addr("x")', "policy_forbidden", "net.lookup"),
        ('r := io.jwt.decode("x")', "policy_forbidden", "io.jwt.decode"),
        ('r := uuid.rfc4122("x")', "policy_forbidden", "uuid.rfc4122"),
        ("r if print(1)", "policy_forbidden", "`print`"),
        ("r := object.union({}, {})", "policy_forbidden", "object.union"),
        ("ok if not baad", "policy_unknown_name", "nothing is called `baad`"),
        ("ok if not data.interlock.other.deny", "policy_unknown_name", "data.interlock.other.deny"),
        ("ok if not data.interlock.main.deny", "policy_unknown_name", "data.interlock.main.deny"),
        ("ok if not data.interlock", "policy_unknown_name", "no policy defines"),
        ("ok if not data.config.x", "policy_unknown_name", "no policy defines"),
        ("ok if data.interlock.workspace[x].deny", "policy_unknown_name", "no policy defines"),
        ("ok if not input.hop.risktier", "policy_unknown_input", "input.hop.risktier"),
        ('ok if not input["hop"]["risktier"]', "policy_unknown_input", "input.hop.risktier"),
        ("ok if not input.hops", "policy_unknown_input", "input.hops"),
        ("ok if { some k in [1]; not input[k] }", "policy_unknown_input", "written out"),
        ("ok if { some k in [1]; not input.hop[k] }", "policy_unknown_input", "written out"),
        ("ok if ok with input as {}", "policy_forbidden", "`with`"),
        ("main.allow := true", "policy_syntax", "no dots"),
        ("data.interlock.main.allow := true", "policy_syntax", "cannot begin with `data`"),
        ("ok if { x = 1; x > 0 }", "policy_syntax", "write `:=`"),
        ("ok if { some x in [1]; y := [x | some x in [2]]; y }", "policy_syntax", "bound twice"),
        ("ok if {", "policy_syntax", "never closed"),
        ("ok if )", "policy_syntax", "closes nothing"),
        ("ok := 'x'", "policy_syntax", "cannot be read"),
        ("import input.hop", "policy_syntax", "below data"),
        ("import data.interlock.main as not", "policy_syntax", "name of its own"),
        ("package interlock.again", "policy_syntax", "one package"),
    ],
)
def test_a_rule_that_would_be_silently_undefined_or_worse(tmp_path: Path, rule: str, reason: str, told: str) -> None:
    error = refusal(tmp_path, extra=HEAD + rule + "\n")
    assert error.reason == reason
    assert told in str(error)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("package other.extra\n", "policy_package"),
        ("package interlock\n", "policy_package"),
        ("package interlock.main\n", "policy_package"),
        ("package interlock.main.deeper\n", "policy_package"),
        ("package interlock.workspace.mine\n", "policy_package"),
        ("x := 1\n", "policy_syntax"),
        ("", "policy_syntax"),
        ("package interlock.9\n", "policy_syntax"),
        ("package interlock..x\n", "policy_syntax"),
    ],
)
def test_packages_are_where_they_belong(tmp_path: Path, text: str, reason: str) -> None:
    assert refusal(tmp_path, extra=text).reason == reason


def test_a_module_cannot_add_rules_to_the_package_of_another(tmp_path: Path) -> None:
    error = refusal(tmp_path, extra="package interlock.main\n\nimport rego.v1\n\nallow if true\n")
    assert "already that of policies/extra.rego" in str(error)


@pytest.mark.parametrize("package", ["interlock.authz", "interlock.main", "interlock.workspace", "interlock.mine"])
def test_a_workspace_writes_only_below_its_own_package(tmp_path: Path, package: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "extra.rego").write_text(f"package {package}\n\nallow := true\n")
    with pytest.raises(PolicyError, match="cannot allow more") as caught:
        load_bundle(POLICIES, [own])
    assert caught.value.reason == "policy_package"


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="is no directory"):
        load_bundle(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PolicyError, match=r"interlock\.main\.allow"):
        load_bundle(tmp_path / "empty")
    assert refusal(tmp_path / "half", main="package interlock.main\n\nallow := true\n").reason == "no_policies"
    place = written(tmp_path / "bytes")
    (place / "extra.rego").write_bytes(b"package interlock.x\n# \xff\n")
    with pytest.raises(PolicyError) as caught:
        load_bundle(place)
    assert caught.value.reason == "policy_unreadable"
    assert refusal(tmp_path / "large", extra="#" * (256 * 1024 + 1)).reason == "policy_unreadable"


def test_the_digest_is_of_names_and_bytes_and_not_of_tests_or_places(tmp_path: Path) -> None:
    first = load_bundle(written(tmp_path / "a", extra=HEAD + "x := 1\n"))
    same = load_bundle(written(tmp_path / "b", extra=HEAD + "x := 1\n", extra_test=HEAD.replace("extra", "extra_test")))
    assert first.digest == same.digest
    assert [module.name for module in same.tests] == ["policies/extra_test.rego"]
    for changed in ({"extra": HEAD + "x := 2\n"}, {"extras": HEAD + "x := 1\n"}, {"extra": HEAD + "x := 1\n\n"}, {}):
        assert load_bundle(written(tmp_path / f"c{len(str(changed))}", **changed)).digest != first.digest
    modules = [Module("b", "2"), Module("a", "1")]
    assert bundle_digest(modules) == bundle_digest(modules[::-1]) != bundle_digest([Module("a", "12"), Module("b", "")])


def test_the_digest_that_others_name(tmp_path: Path) -> None:
    assert policy_bundle_digest(POLICIES.parent) == load_bundle(POLICIES).digest
    text = "package interlock.workspace.mine\n\nimport rego.v1\n\ndeny contains 1 if input.hop.confidence < 900\n"
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.rego").write_text(text)
    assert policy_bundle_digest(POLICIES.parent, [own]) != policy_bundle_digest(POLICIES.parent)


def test_ordinary_style_passes(tmp_path: Path) -> None:
    text = HEAD + (
        "import data.interlock.main as m\n\n# a remark with http.send(\n"
        'names := {"a": [1, 2], `b`: [3]}\n\n'
        "twice(x) := x * 2\n\n"
        "sums[name] := sum(numbers) if some name, numbers in names\n\n"
        'told := sprintf("http.send(%d)", [twice(names.a[0])]) if {\n\tm.allow == false\n\tinput.hop.to[0] != ""\n'
        "\tevery tag in input.hop.tags {\n\t\tcount(tag) > 1\n\t}\n} else := lower(`X`)\n"
    )
    load_bundle(written(tmp_path, extra=text))


def test_tests_are_vetted_with_what_they_test(tmp_path: Path) -> None:
    good = "package interlock.main_test\n\nimport data.interlock.main\n\ntest_x if not main.allow with input as {}\n"
    assert len(read_tests(load_bundle(written(tmp_path / "good", main_test=good)))) == 1
    with pytest.raises(PolicyError, match=r"data\.interlock\.main\.alow"):
        read_tests(load_bundle(written(tmp_path / "bad", main_test=good.replace("main.allow", "main.alow"))))
    assert MAIN.startswith("package interlock.main")
