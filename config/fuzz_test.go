package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bomb is a file whose aliases expand to 9^9 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 x\n")
	for i := range 9 {
		prev := string(rune('0' + i))
		this := string(rune('1' + i))
		b.WriteString("a" + this + ": &a" + this + " [" + strings.TrimSuffix(strings.Repeat("*a"+prev+", ", 9), ", ") + "]\n")
	}
	return b.String()
}

func TestHostileFilesAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, yaml, want string }{
		{"alias bomb", bomb(), "repetition limit exceeded"},
		{"deep flow", strings.Repeat("[", 1<<20), "recursion limit exceeded"},
		{"deep maps", strings.Repeat("{a: ", 1<<18), "recursion limit exceeded"},
		{"deep blocks", strings.Repeat("- ", 1<<20), "recursion limit exceeded"},
		{"many values", "x: [" + strings.Repeat("1,", maxNodes) + "]", "repetition limit exceeded"},
		{"long scalar", "x: " + strings.Repeat("y", MaxFileSize-3), "key x not valid"},
		{"long key above many values", strings.Repeat("y", 1000) + ": [" + strings.Repeat("1,", 1<<17) + "]", "not valid"},
		{"free data below long keys", serverFile("{endpoint: x, metadata: " + strings.Repeat("{"+strings.Repeat("k", 900)+": ", 100) +
			"[" + strings.Repeat("1,", 1<<16) + "]" + strings.Repeat("}", 101)), "invalid socket address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tt.yaml), noEnv)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.200v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzLoad: no input panics, an error is an *Error with a context and a reason, and a loaded configuration has a
// service with a listener.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, seed := range []string{
		"", "\x00", "\ufeff", "---\n...\n", "? {a: b}\n: c", "&a a: *a", "a: &a [*a]", "!!binary x", "%YAML 9.9\n---\n", "%YAML 1.2\n---\n", "\ufeff#\r%YAML 01.2#\r%",
		"services: {slim/0: {dataplane: {servers: [{endpoint: '1.2.3.4:1', keepalive: {time: 99y}}]}}}",
		"runtime: {n_cores: 0xffffffffffffffffff}", "a: !!int x", "a: |\n b\n  c", "<<: 1", "- - - -", bomb()[:300],
		strings.Repeat("[", 300), "'${file:/dev/zero}'", "a: ${env:X}", running,
	} {
		f.Add([]byte(seed))
	}
	env := func(k string) (string, bool) { return k, len(k) < 8 }
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "file:") { // no reads of whatever the fuzzer names
			return
		}
		c, _, err := parse("f", b, env)
		agree(t, b, env, err)
		var e *Error
		switch {
		case err == nil && (len(c.Services) == 0 || len(c.Services[0].Dataplane.Servers)+len(c.Services[0].Dataplane.Clients) == 0):
			t.Errorf("loaded without anything to listen on or to dial: %+v", c)
		case err != nil && (!errors.As(err, &e) || len(e.Context) == 0 || len(e.Reasons) == 0):
			t.Errorf("error %#v has no context or reason", err)
		}
	})
}
