//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fenced is a block of a page.
var fenced = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// The first steps of docs/rpc.md run as they are printed: from a .proto file to an answered call, in 40 lines. What is fetched there, this module
// and protoc-gen-go, is what is here: by a workspace, and without "@latest".
func TestRPCQuickStart(t *testing.T) {
	protoc := protocOf(t)
	page, err := os.ReadFile("../docs/rpc.md")
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{}
	lines := 0
	for _, m := range fenced.FindAllStringSubmatch(string(page), -1) {
		of[m[1]] += m[2]
		if m[1] == "text" {
			continue
		}
		for line := range strings.Lines(m[2]) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
	}
	if lines == 0 || lines > 40 {
		t.Errorf("%d lines, want 40 at most", lines)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	home := filepath.Join(dir, "hello")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	// Where the node listens is another place than the default, which is the only other difference.
	n := startNode(t, ours)
	for name, text := range map[string]string{
		"hello/hello.proto": of["proto"],
		"hello/main.go":     strings.Replace(of["go"], "session.Options{", "session.Options{Nodes: []string{\""+n.url()+"\"}, ", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := func(text string) string {
		t.Helper()
		cmd := exec.Command("bash", "-euc", text)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "GOBIN="+bin, "PATH="+bin+":"+filepath.Dir(protoc)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", text, err, out)
		}
		return string(out)
	}
	init, rest, _ := strings.Cut(of["sh"], "go get github.com/seed31b3bfd0/slimgo@latest\n")
	shell(init)
	shell("cd .. && go work init hello " + root)
	shell(strings.ReplaceAll(rest, "@latest", ""))
	if !strings.Contains(string(page), "`go mod tidy && go run .`") {
		t.Error("the page does not say how to run it")
	}
	if got := spaces.ReplaceAllString(shell("go run ."), " "); got != of["text"] {
		t.Errorf("it prints %q, want %q", got, of["text"])
	}
}

// spaces are those of texts of protobuf messages, of which there are one or two at random.
var spaces = regexp.MustCompile(" +")
