package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
	Text string
	Dir  string // working directory; empty: the current one
}

// versionLimit is how long a program may take to tell its version.
const versionLimit = 2 * time.Second

// Version returns what a node's program says of itself, PROGRAM --version, in one line. It asks only programs called slim or
// slim-something: what others make of such a flag nobody knows. Empty: it is not known.
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

// Words splits text into words.
func Words(text string) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		open  rune // quote that is open, or 0
		some  bool // a word has begun
		skip  bool // after a backslash
	)
	for _, r := range text {
		switch {
		case skip:
			word.WriteRune(r)
			skip = false
		case r == '\\' && open != '\'':
			skip, some = true, true
		case open != 0 && r == open:
			open = 0
		case open != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			open, some = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if some {
				words = append(words, word.String())
				word.Reset()
				some = false
			}
		default:
			word.WriteRune(r)
			some = true
		}
	}
	if open != 0 || skip {
		return nil, fmt.Errorf("command %q: quote without end", text)
	}
	if some {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("command is empty")
	}
	return words, nil
}

// expand returns the words for a node that shall listen on addr. Files it needs are made in dir.
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
	if strings.Contains(c.Text, "{config}") {
		path := filepath.Join(dir, "node.yaml")
		if err := os.WriteFile(path, []byte(nodeConfig(addr)), 0o600); err != nil {
			return nil, err
		}
		values = append(values, "{config}", path)
	}
	r := strings.NewReplacer(values...)
	for i, w := range words {
		words[i] = r.Replace(w)
	}
	return words, nil
}

// nodeConfig is the smallest configuration of upstream's node: one listener without TLS, quiet log, one worker per core.
func nodeConfig(addr string) string {
	return `tracing:
  log_level: warn
runtime:
  n_cores: 0
  thread_name: "slim-data-plane"
  drain_timeout: 1s
services:
  slim/0:
    node_id: bench-node
    dataplane:
      servers:
        - endpoint: "` + addr + `"
          tls:
            insecure: true
      clients: []
`
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
