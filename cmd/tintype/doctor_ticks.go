package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ticks tells whether idle partitions of uploads will hold back the windows: whoever
// may not write to the topic sends no ticks.
func (c *doctorCommand) ticks(ctx context.Context, client *kgo.Client) check {
	may, known, err := mayWrite(ctx, client, c.UploadsTopic)
	switch {
	case err != nil:
		return verdict("ticks", err, "")
	case !known:
		return verdict("ticks", nil, "the broker does not tell whether this user may write to "+c.UploadsTopic)
	case !may:
		return verdict("ticks", fmt.Errorf("this user may not write to %s: a partition of it that nobody uploads to holds back the final results of all windows, "+
			"for as long as it is idle; allow WRITE on the topic, or live with early results", c.UploadsTopic), "")
	}
	return verdict("ticks", nil, "idle partitions of "+c.UploadsTopic+" will not hold back the windows")
}

// mayWrite asks the broker for this user's rights on a topic (KIP-430); known is false
// where it does not tell.
func mayWrite(ctx context.Context, client *kgo.Client, topic string) (may, known bool, err error) {
	request := kmsg.NewPtrMetadataRequest()
	request.IncludeTopicAuthorizedOperations = true
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	request.Topics = append(request.Topics, asked)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return false, false, fmt.Errorf("doctor: ask for rights on topic %s: %w", topic, err)
	}
	if len(response.Topics) != 1 {
		return false, false, fmt.Errorf("doctor: ask for rights on topic %s: %d topics in the answer", topic, len(response.Topics))
	}
	if err := kerr.ErrorForCode(response.Topics[0].ErrorCode); err != nil {
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return false, false, nil // The check of topics tells.
		}
		return false, false, fmt.Errorf("doctor: ask for rights on topic %s: %w", topic, err)
	}
	rights := response.Topics[0].AuthorizedOperations
	if rights == -1<<31 {
		return false, false, nil
	}
	return rights>>kmsg.ACLOperationWrite&1 == 1, true, nil
}
