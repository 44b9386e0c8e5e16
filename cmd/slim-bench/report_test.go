package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder that cannot be written is refused before anything is measured, and never announced.
func TestReportThatCannotBeWrittenIsSaidFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "x"), "/proc/x"} {
		code, stdout, stderr := slimBench(t, "run", "p2p", "--target", "127.0.0.1:1", "--report", dir)
		if code != exitInvalid || stdout != "" || strings.Contains(stderr, "refused") ||
			!strings.Contains(stderr, "no report can be written into "+dir) || !strings.Contains(stderr, "name another folder") {
			t.Errorf("%s: exit %d, %s%s", dir, code, stdout, stderr)
		}
	}
}

// What goes wrong at the end is said as well, and the results are printed all the same.
func TestReportThatFailsAtTheEndIsNotAnnounced(t *testing.T) {
	dir := t.TempDir()
	var stdout shared
	stderr := shared{on: func(string) { // a folder where a file has to be, when the run has begun
		if err := os.MkdirAll(filepath.Join(dir, "summary.md"), 0o700); err != nil {
			t.Error(err)
		}
	}}
	code := run(t.Context(), []string{"run", "p2p", "--target", node(t), "--inflight", "8", "--count", "100", "--report", dir}, nil, &stdout, &stderr)
	told := stderr.b.String()
	if code != exitInvalid || !strings.Contains(stdout.b.String(), "delivered") || strings.Contains(told, "index.html") ||
		!strings.Contains(told, "summary.md") {
		t.Errorf("exit %d, %s%s", code, &stdout.b, told)
	}
}
