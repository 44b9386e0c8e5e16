package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Rules: P-conf-9.
func TestProviders(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "binary")
	if err := os.WriteFile(binary, []byte{0xff, 0xfe}, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(k string) (string, bool) {
		v, ok := map[string]string{"NAME": "from env", "EMPTY": "", "REF": "${env:NAME}", "TRUE": "true"}[k]
		return v, ok
	}
	const class = "failed to load configuration | config provider error | "
	for _, tt := range []struct{ name, value, want, err string }{
		{"variable", "${env:NAME}", "from env", ""},
		{"empty variable", "${env:EMPTY}", "", ""},
		{"file keeps its line end", "${file:" + secret + "}", "from file\n", ""},
		{"result is not read again", "${env:REF}", "${env:NAME}", ""},
		{"text around is text", "a${env:NAME}", "a${env:NAME}", ""},
		{"space around is text", " ${env:NAME}", " ${env:NAME}", ""},
		{"not closed is text", "${env:NAME", "${env:NAME", ""},
		{"unset variable", "${env:NOPE}", "", class + `environment variable error | f:1:24: runtime.thread_name: environment variable not found: "NOPE"`},
		{"two references are one", "${env:NAME}${env:NAME}", "", class + `environment variable error | f:1:24: runtime.thread_name: environment variable not found: "NAME}${env:NAME"; two references are read as one: ${env:NAME} and ${file:PATH} work as a whole value only`},
		{"default value", "${env:NOPE:-x}", "", class + `environment variable error | f:1:24: runtime.thread_name: environment variable not found: "NOPE:-x"; a reference has no default value`},
		{"no file", "${file:" + dir + "/nope}", "", class + `file error | f:1:24: runtime.thread_name: No such file or directory (os error 2): "` + dir + `/nope"`},
		{"file that is no text", "${file:" + binary + "}", "", class + `file error | f:1:24: runtime.thread_name: stream did not contain valid UTF-8: "` + binary + `"`},
		{"unknown provider", "${vault:x}", "", class + `f:1:24: runtime.thread_name: not found: "${vault:x}" names no provider; there are ${env:NAME} and ${file:PATH}`},
		{"no provider", "${NAME}", "", class + `f:1:24: runtime.thread_name: not found: "${NAME}" names no provider; there are ${env:NAME} and ${file:PATH}`},
		{"empty reference", "${}", "", class + `f:1:24: runtime.thread_name: not found: "${}" names no provider; there are ${env:NAME} and ${file:PATH}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := parse("f", []byte("runtime: {thread_name: '"+tt.value+"'}"+running), env)
			if got := causes(t, err); got != tt.err {
				t.Fatalf("got  %s\nwant %s", got, tt.err)
			}
			if err == nil && c.Runtime.ThreadName != tt.want {
				t.Errorf("value %q, want %q", c.Runtime.ThreadName, tt.want)
			}
		})
	}
}

// Rules: P-conf-9, P-conf-20.
func TestProviderResultIsAlwaysAString(t *testing.T) {
	env := func(string) (string, bool) { return "s3cret", true }
	_, _, err := parse("f", []byte("runtime: {n_cores: '${env:N}'}"+running), env)
	want := "invalid runtime configuration | yaml parse error | f:1:20: runtime.n_cores: invalid type: the string from ${env:N}, expected usize; a reference always gives text: write the value itself"
	if got := causes(t, err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestProvidersReachUnusedPartsButNotKeys(t *testing.T) {
	_, _, err := parse("f", []byte(serverFile(`{endpoint: "127.0.0.1:0", foo: [{a: "${env:X}"}]}`)), noEnv)
	if got := causes(t, err); !strings.Contains(got, "servers[0].foo[0].a: environment variable not found") {
		t.Errorf("a reference in an ignored key: got %s, want it resolved", got)
	}
	_, _, err = parse("f", []byte(`"${env:X}": 1`), noEnv)
	if got := causes(t, err); !strings.Contains(got, "key ${env:X} not valid") {
		t.Errorf("a reference as key: got %s, want it untouched", got)
	}
}

// The root's keys are looked at before references, everything else after them.
func TestReferencesAreReplacedAfterTheRootsKeys(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"services: {}\nfoo: \"${env:NOPE}\"\n", "failed to load configuration | invalid configuration - key foo not valid | f:2:1: foo: unknown key"},
		{"runtime: {n_cores: x, thread_name: \"${env:NOPE}\"}\n", "failed to load configuration | config provider error | environment variable error | " +
			`f:1:36: runtime.thread_name: environment variable not found: "NOPE"`},
	} {
		_, _, err := parse("f", []byte(tt.yaml), noEnv)
		if got := causes(t, err); got != tt.want {
			t.Errorf("parse(%q)\n got %s\nwant %s", tt.yaml, got, tt.want)
		}
	}
}

func TestLoadRefusesUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, MaxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "binary")
	if err := os.WriteFile(binary, []byte{0xff, 0xfe}, 0o600); err != nil {
		t.Fatal(err)
	}
	const class = "failed to load configuration | io error | "
	for _, tt := range []struct{ name, path, want string }{
		{"missing", dir + "/nope", class + dir + "/nope: No such file or directory (os error 2)"},
		{"directory", dir, class + dir + ": Is a directory (os error 21)"},
		{"not UTF-8", binary, class + binary + ": stream did not contain valid UTF-8"},
		{"too large", big, class + big + ": larger than 4 MiB"},
	} {
		_, _, err := Load(tt.path, noEnv)
		if got := causes(t, err); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
