package a2aslim

import (
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/a2a"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/internal/a2av1"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// protocol1 is A2A 1.0. a2a-go v0.3.3 has neither its messages nor types of its own for what is new there: a list of tasks, tenants.
var protocol1 = func() *protocol {
	send := codec[*a2a.MessageSendParams, a2av1.SendMessageRequest]{sendTo1, sendFrom1}
	event := codec[a2a.Event, a2av1.StreamResponse]{eventTo1, eventFrom1}
	task := codec[*a2a.Task, a2av1.Task]{taskTo1, taskFrom1}
	push := codec[*a2a.TaskPushConfig, a2av1.TaskPushNotificationConfig]{pushTo1, pushFrom1}
	return &protocol{
		send:       unary(method(service1, "SendMessage"), send, codec[a2a.SendMessageResult, a2av1.SendMessageResponse]{resultTo1, resultFrom1}),
		sendStream: streaming(serverStream(service1, "SendStreamingMessage"), send, event),
		get: unary(method(service1, "GetTask"), codec[*a2a.TaskQueryParams, a2av1.GetTaskRequest]{
			func(p *a2a.TaskQueryParams) (*a2av1.GetTaskRequest, error) {
				return &a2av1.GetTaskRequest{Id: string(p.ID), HistoryLength: int32Of(p.HistoryLength)}, nil
			},
			func(r *a2av1.GetTaskRequest) (*a2a.TaskQueryParams, error) {
				return &a2a.TaskQueryParams{ID: a2a.TaskID(r.GetId()), HistoryLength: intOf(r.HistoryLength)}, needID(r.GetId())
			}}, task),
		cancel: unary(method(service1, "CancelTask"), codec[*a2a.TaskIDParams, a2av1.CancelTaskRequest]{
			func(p *a2a.TaskIDParams) (*a2av1.CancelTaskRequest, error) {
				md, err := structOf(p.Metadata)
				return &a2av1.CancelTaskRequest{Id: string(p.ID), Metadata: md}, err
			},
			func(r *a2av1.CancelTaskRequest) (*a2a.TaskIDParams, error) {
				return &a2a.TaskIDParams{ID: a2a.TaskID(r.GetId()), Metadata: mapOf(r.GetMetadata())}, needID(r.GetId())
			}}, task),
		subscribe: streaming(serverStream(service1, "SubscribeToTask"), codec[*a2a.TaskIDParams, a2av1.SubscribeToTaskRequest]{
			func(p *a2a.TaskIDParams) (*a2av1.SubscribeToTaskRequest, error) {
				return &a2av1.SubscribeToTaskRequest{Id: string(p.ID)}, nil
			},
			func(r *a2av1.SubscribeToTaskRequest) (*a2a.TaskIDParams, error) {
				return &a2a.TaskIDParams{ID: a2a.TaskID(r.GetId())}, needID(r.GetId())
			}}, event),
		setPush: unary(method(service1, "CreateTaskPushNotificationConfig"), push, push),
		getPush: unary(method(service1, "GetTaskPushNotificationConfig"), codec[*a2a.GetTaskPushConfigParams, a2av1.GetTaskPushNotificationConfigRequest]{
			func(p *a2a.GetTaskPushConfigParams) (*a2av1.GetTaskPushNotificationConfigRequest, error) {
				return &a2av1.GetTaskPushNotificationConfigRequest{TaskId: string(p.TaskID), Id: p.ConfigID}, nil
			},
			func(r *a2av1.GetTaskPushNotificationConfigRequest) (*a2a.GetTaskPushConfigParams, error) {
				return &a2a.GetTaskPushConfigParams{TaskID: a2a.TaskID(r.GetTaskId()), ConfigID: r.GetId()}, needID(r.GetTaskId())
			}}, push),
		listPush: unary(method(service1, "ListTaskPushNotificationConfigs"),
			codec[*a2a.ListTaskPushConfigParams, a2av1.ListTaskPushNotificationConfigsRequest]{
				func(p *a2a.ListTaskPushConfigParams) (*a2av1.ListTaskPushNotificationConfigsRequest, error) {
					return &a2av1.ListTaskPushNotificationConfigsRequest{TaskId: string(p.TaskID)}, nil
				},
				func(r *a2av1.ListTaskPushNotificationConfigsRequest) (*a2a.ListTaskPushConfigParams, error) {
					return &a2a.ListTaskPushConfigParams{TaskID: a2a.TaskID(r.GetTaskId())}, needID(r.GetTaskId())
				}},
			codec[[]*a2a.TaskPushConfig, a2av1.ListTaskPushNotificationConfigsResponse]{
				func(list []*a2a.TaskPushConfig) (*a2av1.ListTaskPushNotificationConfigsResponse, error) {
					configs, err := each(list, pushTo1)
					return &a2av1.ListTaskPushNotificationConfigsResponse{Configs: configs}, err
				},
				func(r *a2av1.ListTaskPushNotificationConfigsResponse) ([]*a2a.TaskPushConfig, error) {
					return each(r.GetConfigs(), pushFrom1)
				},
			}),
		deletePush: unary(method(service1, "DeleteTaskPushNotificationConfig"),
			codec[*a2a.DeleteTaskPushConfigParams, a2av1.DeleteTaskPushNotificationConfigRequest]{
				func(p *a2a.DeleteTaskPushConfigParams) (*a2av1.DeleteTaskPushNotificationConfigRequest, error) {
					return &a2av1.DeleteTaskPushNotificationConfigRequest{TaskId: string(p.TaskID), Id: p.ConfigID}, nil
				},
				func(r *a2av1.DeleteTaskPushNotificationConfigRequest) (*a2a.DeleteTaskPushConfigParams, error) {
					return &a2a.DeleteTaskPushConfigParams{TaskID: a2a.TaskID(r.GetTaskId()), ConfigID: r.GetId()}, needID(r.GetTaskId())
				}}, blank[emptypb.Empty]()),
		card: unary(method(service1, "GetExtendedAgentCard"), blank[a2av1.GetExtendedAgentCardRequest](),
			codec[*a2a.AgentCard, a2av1.AgentCard]{cardTo1, cardFrom1}),
	}
}()

// refuseList serves the one method of 1.0 for which a2a-go v0.3.3 has no handler.
func refuseList(r rpc.Registrar) {
	rpc.HandleUnary(r, method(service1, "ListTasks"), func(context.Context, *rpc.Raw) (*rpc.Raw, error) {
		return nil, toCall(fmt.Errorf("%w: tasks are not listed here", a2a.ErrUnsupportedOperation))
	})
}

func needID(id string) error {
	if id == "" {
		return errors.New("there is no id of a task")
	}
	return nil
}

// each converts a list.
func each[From, To any](list []From, convert func(From) (To, error)) ([]To, error) {
	if list == nil {
		return nil, nil
	}
	all := make([]To, len(list))
	for i, from := range list {
		to, err := convert(from)
		if err != nil {
			return nil, err
		}
		all[i] = to
	}
	return all, nil
}
