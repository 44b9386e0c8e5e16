package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuiltInFilesLoad(t *testing.T) {
	all, err := Scenarios()
	if err != nil || len(all) != len(kinds) {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	for _, s := range all {
		if s.About == "" || len(s.Cases) == 0 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	for _, name := range Suites() {
		plan, err := LoadSuite(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range plan.Cases {
			if len(c.Require) == 0 {
				t.Errorf("suite %s: %s requires nothing", name, c.Label())
			}
		}
	}
}

func TestBadFilesNamePlaceAndNearestWord(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ text, want string }{
		{"scenario: p2", "f.yaml:1:11: no scenario \"p2\"; did you mean p2p?"},
		{"scenario: p2p\ncasse: []", "f.yaml:2:1: no key \"casse\"; did you mean cases?"},
		{"scenario: p2p\ncases:\n  - {sise: 100}", "f.yaml:3:6: this scenario does not read \"sise\"; did you mean size?"},
		{"scenario: p2p\ncases:\n  - {size: huge}", "f.yaml:3:12: size: size \"huge\""},
		{"scenario: p2p\ncases: []", "without cases"},
		{"scenario: p2p\nscenario: p2p", "f.yaml"},
		{"about: x", "key scenario is missing"},
		{"- 1", "want a mapping"},
		{"scenario: [", "f.yaml"},
		{"scenario: p2p\ndefaults: {fanout: 3}", "does not read"},
		{"scenario: p2p\ncases:\n  - {rate: 10, size: 100, total-rate: 20}", "f.yaml:3:5: rate and total-rate exclude each other"},
		{"scenario: p2p\ndefaults: {count: 10, warmup: 1s}", "f.yaml:2:11: count and warmup exclude each other"},
	} {
		path := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadScenario(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"suite: x\nruns:\n  - scenario: p2p\n    requires: []", "f.yaml:4:5: no key \"requires\"; did you mean require?"},
		{"suite: x\nruns:\n  - scenario: p2p\n    require: [\"lost\"]", "f.yaml:4:15: condition"},
		{"suite: x\nruns:\n  - {}", "which scenario?"},
		{"suite: [x]\nruns:\n  - {scenario: p2p}", "f.yaml:1:8: "},
		{"suite: x\nruns:\n  - {scenario: p2p, cases: [{size: 100, size: 200}]}", "size stands here twice"},
		{"suite: x\nruns:\n  - {scenario: p2p, nodes: [[a]]}", "f.yaml:3:29: want a single value"},
		{"suite: x\nruns: 1", "f.yaml:2:7: want a list"},
		{"suite: x\nruns:\n  - {scenario: p2p, cases: []}", "without cases"},
		{"suite: x\nrounds: 0\nruns:\n  - scenario: p2p", "f.yaml:2:9"},
		{"suite: x\nruns:\n  - scenario: p2p\n    require: [\"los <= 0\"]", "f.yaml:4:15: condition \"los <= 0\": no scenario measures \"los\"; did you mean lost?"},
		{"suite: x", "list of runs"},
		{"suite: x\noptional-node: [a]\nruns: []", "did you mean optional-nodes?"},
		{"suite: x\nruns:\n  - scenario: p2p\n    nodes: [floor]\n    require: [\"p50 / base <= 1\"]", "f.yaml:5:15: condition"},
		{"suite: x\ntransports: [tsl]\nruns: []", "f.yaml:2:14: no transport \"tsl\"; did you mean tls?"},
		{"suite: x\ndefaults: {duraton: 1s}\nruns: []", "did you mean duration?"},
	} {
		path := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadSuite(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
	if _, err := LoadSuite("smokey"); err == nil || !strings.Contains(err.Error(), "smoke") {
		t.Errorf("got %v", err)
	}
}

func FuzzScenario(f *testing.F) {
	for _, k := range kinds {
		b, err := files.ReadFile("scenarios/" + k.kind + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("scenario: p2p\ncases: &a [{size: 1K}, *a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := document{"f"}
		var file scenarioFile
		if d.parse(b, &file) != nil {
			return
		}
		s, err := d.scenario(file)
		if err == nil && (s.Run == nil || len(s.Cases) == 0) {
			t.Errorf("taken, but nothing to do: %q", b)
		}
	})
}

func FuzzSuite(f *testing.F) {
	for _, name := range Suites() {
		b, err := files.ReadFile("suites/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := document{"f"}
		var file suiteFile
		if d.parse(b, &file) != nil || strings.Contains(string(b), ".y") { // no files but the built-in ones
			return
		}
		if s, err := d.suite(file); err == nil && len(s.Cases) == 0 {
			t.Errorf("taken, but nothing to do: %q", b)
		}
	})
}
