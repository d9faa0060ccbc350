<?php
// The way Kartra's own documentation shows it: curl, http_build_query, actions indexed by '0', '1', …

function kartra($parameters)
{
    $ch = curl_init();
    curl_setopt($ch, CURLOPT_URL, getenv('API_URL'));
    curl_setopt($ch, CURLOPT_POST, 1);
    curl_setopt($ch, CURLOPT_POSTFIELDS, http_build_query(array_merge(array(
        'app_id' => getenv('APP_ID'),
        'api_key' => getenv('API_KEY'),
        'api_password' => getenv('API_PASSWORD'),
    ), $parameters)));
    curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
    $server_output = curl_exec($ch);
    if ($server_output === false) {
        fwrite(STDERR, curl_error($ch));
        exit(1);
    }
    return json_decode($server_output);
}

function messages($answer)
{
    $messages = array();
    foreach ($answer->actions as $element) {
        foreach ($element as $result) {
            $messages[] = $result->message;
        }
    }
    return $messages;
}

$email = getenv('EMAIL');

$account = kartra(array('actions' => array('0' => array('cmd' => 'retrieve_account_tags'))));

$created = kartra(array(
    'lead' => array('email' => $email, 'first_name' => getenv('FIRST_NAME')),
    'actions' => array(
        '0' => array('cmd' => 'create_lead'),
        '1' => array('cmd' => 'assign_tag', 'tag_name' => 'Trial user'),
        '2' => array('cmd' => 'subscribe_lead_to_list', 'list_name' => 'Newsletter'),
    ),
));
$id = $created->actions[0]->create_lead->lead_details->id;

$tagged = kartra(array(
    'lead' => array('id' => $id),
    'actions' => array(
        '0' => array('cmd' => 'assign_tag', 'tag_name' => 'Customer'),
        '1' => array('cmd' => 'assign_tag', 'tag_name' => 'Trial user'),
    ),
));

$found = kartra(array('get_lead' => array('email' => $email)));
$unknown = kartra(array('get_lead' => array('email' => 'nobody@shop.example')));

echo json_encode(array(
    'account_tags' => $account->account_tags,
    'id' => $id,
    'created' => messages($created),
    'tagged' => messages($tagged),
    'first_name' => $found->lead_details->first_name,
    'tags' => array_column($found->lead_details->tags, 'tag_name'),
    'unknown' => $unknown->status === 'Error' && $unknown->message === 'No lead found',
));
