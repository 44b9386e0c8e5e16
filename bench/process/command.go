package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Command is how to start a node: words of a command line in which these are replaced:
//
//	{listen}  address and port on the loopback interface
//	{host}    the address alone
//	{port}    the port alone
//	{config}  path of a generated configuration file in the format of upstream's node
//
// Words are split at blanks; single and double quotes keep blanks together, a backslash quotes one character outside
// single quotes. No shell is involved, so the started process is the node.
type Command struct {
	Text      string
	Dir       string // working directory; empty: the current one
	Transport string // one of Transports; empty: plain gRPC
}

// versionLimit is how long a program may take to tell its version.
const versionLimit = 2 * time.Second

// Version returns what a node's program says of itself, PROGRAM --version, in one line. It asks only programs called
// slim or slim-something: what others make of such a flag nobody knows. Empty: it is not known.
func (c Command) Version(ctx context.Context) string {
	words, err := Words(c.Text)
	if err != nil || !strings.HasPrefix(filepath.Base(words[0]), "slim") {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], "--version")
	cmd.Dir, cmd.WaitDelay = c.Dir, versionLimit
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	line = strings.TrimSpace(strings.TrimPrefix(line, "Version:"))
	return line[:min(len(line), 100)]
}

// part is what words are made of: an escaped character, a quotation, or plain text; word is one word.
var (
	part = regexp.MustCompile(`(?s)\\.|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'\\]+`)
	word = regexp.MustCompile(`(?:` + part.String() + `)+`)

	escaped = regexp.MustCompile(`(?s)\\(.)`)
)

// Words splits text into words.
func Words(text string) ([]string, error) {
	words := word.FindAllString(text, -1)
	switch {
	case strings.TrimSpace(word.ReplaceAllString(text, "")) != "":
		return nil, fmt.Errorf("command %q: quote without end", text)
	case len(words) == 0:
		return nil, errors.New("command is empty")
	}
	for i, w := range words {
		words[i] = part.ReplaceAllStringFunc(w, func(p string) string {
			if p[0] == '\'' {
				return p[1 : len(p)-1]
			}
			if p[0] == '"' {
				p = p[1 : len(p)-1]
			}
			return escaped.ReplaceAllString(p, "$1")
		})
	}
	return words, nil
}

// expand returns the words for a node that shall listen on addr, by the command's transport. Files it needs are made in
// dir.
func (c Command) expand(addr, dir string) ([]string, error) {
	words, err := Words(c.Text)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	values := []string{"{listen}", addr, "{host}", host, "{port}", port}
	switch {
	case strings.Contains(c.Text, "{config}"):
		path := filepath.Join(dir, "node.yaml")
		if err := os.WriteFile(path, []byte(c.nodeConfig(addr, dir)), 0o600); err != nil {
			return nil, err
		}
		values = append(values, "{config}", path)
	case c.Transport != "":
		return nil, fmt.Errorf("command %q: transport %s needs a configuration: give {config}", c.Text, c.Transport)
	}
	r := strings.NewReplacer(values...)
	for i, w := range words {
		words[i] = r.Replace(w)
	}
	return words, nil
}

// FreeAddress returns a loopback address with a port nobody listens on at the moment.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
