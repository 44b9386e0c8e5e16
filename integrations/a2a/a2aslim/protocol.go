package a2aslim

import (
	"github.com/a2aproject/a2a-go/a2a"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Version is one of A2A.
type Version uint8

// Both are served by Register. Callers say which they speak; zero: what the agent's card says, and V1 without a card.
const (
	V1  Version = iota + 1 // 1.0, service lf.a2a.v1.A2AService
	V03                    // 0.3, service a2a.v1.A2AService
)

// Services, by which a server tells the versions apart.
const (
	service1  = "lf.a2a.v1.A2AService"
	service03 = "a2a.v1.A2AService"
)

// protocol is all methods of a version that a2a-go v0.3.3 has types for.
type protocol struct {
	send       operation[a2a.MessageSendParams, a2a.SendMessageResult]
	sendStream stream[a2a.MessageSendParams]
	get        operation[a2a.TaskQueryParams, *a2a.Task]
	cancel     operation[a2a.TaskIDParams, *a2a.Task]
	subscribe  stream[a2a.TaskIDParams]
	setPush    operation[a2a.TaskPushConfig, *a2a.TaskPushConfig]
	getPush    operation[a2a.GetTaskPushConfigParams, *a2a.TaskPushConfig]
	listPush   operation[a2a.ListTaskPushConfigParams, []*a2a.TaskPushConfig]
	deletePush operation[a2a.DeleteTaskPushConfigParams, *nothing]
	card       operation[nothing, *a2a.AgentCard]
}

// nothing stands for parameters or a result that a method does not have.
type nothing struct{}

// blank is the codec of nothing as a message whose fields, if it has any, say nothing here.
func blank[Msg any]() codec[*nothing, Msg] {
	return codec[*nothing, Msg]{
		to:   func(*nothing) (*Msg, error) { return new(Msg), nil },
		from: func(*Msg) (*nothing, error) { return new(nothing), nil },
	}
}

func method(service, name string) rpc.Method { return rpc.Method{Service: service, Name: name} }

func serverStream(service, name string) rpc.Method {
	return rpc.Method{Service: service, Name: name, ServerStreams: true}
}
