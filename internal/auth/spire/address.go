package spire

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Address returns the address of the Workload API that the key socket_path names, or without it the variable
// SPIFFE_ENDPOINT_SOCKET: unix:///PATH, or from the variable tcp://IP:PORT. Rules: P-spiffe-1.
func Address(socketPath string, env func(string) (string, bool)) (string, error) {
	from, address := "socket_path", socketPath
	if address == "" {
		from = workloadapi.SocketEnv
		if address, _ = env(from); address == "" {
			return "", errors.New("socket_path is absent and " + from + " is not set: one has to say where the agent's socket is, as unix:///PATH")
		}
	} else if !strings.HasPrefix(address, "unix:") {
		address = "unix:" + address // as upstream
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%s is no address of a Workload API: %w", from, err)
	}
	switch {
	case u.Scheme == "tcp":
		if err := workloadapi.ValidateAddress(address); err != nil {
			return "", fmt.Errorf("%s %q: %w", from, address, err)
		}
		return address, nil
	case u.Scheme != "unix":
		return "", fmt.Errorf("%s %q: the scheme must be unix or tcp, as in unix:///run/spire/agent.sock", from, address)
	case u.Host != "":
		return "", fmt.Errorf("%s %q: URI must not include an authority: %q is taken for a host; write three slashes, unix:///%s%s",
			from, address, u.Host, u.Host, u.Path)
	case u.Opaque != "":
		return "", fmt.Errorf("%s %q: the path must be absolute, as in unix:///run/spire/agent.sock", from, address)
	case u.Path == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%s %q: want the path of a socket alone, as in unix:///run/spire/agent.sock", from, address)
	}
	return "unix://" + u.EscapedPath(), nil
}
