package internal

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The conditions against the baseline may go missing only in a tree without history outside CI, and never silently.
func TestBaselineIsThereOrMissed(t *testing.T) {
	run, err := filepath.Abs("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	origin, commit := originWithBaseline(t)
	for _, c := range []struct {
		name  string
		clone func(t *testing.T, dir string) // into an empty folder
		ci    string
		built bool
		text  string // of what is printed
		fails bool
	}{
		{"no history", func(*testing.T, string) {}, "", false, "conditions against the baseline are skipped", false},
		{"no history in CI", func(*testing.T, string) {}, "true", false, "is not in this clone", true},
		{"a clone without it, and without origin", func(t *testing.T, dir string) { git(t, dir, "init", "-q") }, "", false, commit, true},
		{"a shallow clone", func(t *testing.T, dir string) { git(t, dir, "clone", "-q", "--depth", "1", "file://"+origin, ".") }, "true", true, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			c.clone(t, dir)
			write(t, filepath.Join(dir, ".ci", "baseline"), commit+"\n")
			write(t, filepath.Join(out, "bin", "go"), "#!/bin/sh\ntouch \"$3\"\n") // go build -o FILE ./cmd/slim
			cmd := exec.Command("bash", "-c", `set -euo pipefail; eval "$(sed -n '/^baseline() {/,/^}/p' "$1")"; baseline "$2"; echo went on`, "bash", run, out)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CI="+c.ci, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir), "PATH="+filepath.Join(out, "bin")+":"+os.Getenv("PATH"))
			b, err := cmd.CombinedOutput()
			if (err != nil) != c.fails || !strings.Contains(string(b), c.text) {
				t.Errorf("%v\n%s", err, b)
			}
			if _, err := os.Stat(filepath.Join(out, "base")); (err == nil) != c.built {
				t.Errorf("built: %v, want %v\n%s", err == nil, c.built, b)
			}
		})
	}
}

// originWithBaseline makes a repository whose baseline lies one commit behind its head.
func originWithBaseline(t *testing.T) (dir, baseline string) {
	t.Helper()
	dir = t.TempDir()
	git(t, dir, "init", "-q")
	git(t, dir, "config", "uploadpack.allowAnySHA1InWant", "true") // as hosting services have it
	for _, text := range []string{"old", "new"} {
		write(t, filepath.Join(dir, "file"), text)
		git(t, dir, "add", "file")
		git(t, dir, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-q", "-m", text)
	}
	return dir, git(t, dir, "rev-parse", "HEAD~1")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, b)
	}
	return strings.TrimSpace(string(b))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}
