<?php
// Plugins as they are written for WordPress: JSON bodies, and the credentials in the query string.
// Styles: query = only there, both = in the body as well, list = `lead` as a list of one.

/** What WordPress sends for a plugin: the URL with everything in it as Referer, too. */
function wp_remote_post($url, $args)
{
    $ch = curl_init($url);
    curl_setopt_array($ch, [
        CURLOPT_POSTFIELDS => $args['body'],
        CURLOPT_HTTPHEADER => array_map(fn ($k, $v) => "$k: $v", array_keys($args['headers']), $args['headers']),
        CURLOPT_REFERER => $url,
        CURLOPT_USERAGENT => 'WordPress/6.8; https://shop.example',
        CURLOPT_ENCODING => 'deflate, gzip',
        CURLOPT_FOLLOWLOCATION => true,
        CURLOPT_RETURNTRANSFER => true,
    ]);
    $body = curl_exec($ch);
    return ['response' => ['code' => curl_getinfo($ch, CURLINFO_RESPONSE_CODE)], 'body' => $body];
}

class Kartra_Plugin
{
    private string $style;

    public function __construct(string $style)
    {
        $this->style = $style;
    }

    private function credentials(): array
    {
        return [
            'app_id' => getenv('APP_ID'),
            'api_key' => getenv('API_KEY'),
            'api_password' => getenv('API_PASSWORD'),
        ];
    }

    private function lead(array $fields): array
    {
        return $this->style === 'list' ? [$fields] : $fields;
    }

    private function request(array $body): array
    {
        if ($this->style === 'both') {
            $body = array_merge($this->credentials(), $body);
        }
        $response = wp_remote_post(getenv('API_URL') . '?' . http_build_query($this->credentials()), [
            'headers' => ['Content-Type' => 'application/json'],
            'body' => json_encode($body),
        ]);
        if ($response['response']['code'] !== 200) {
            fwrite(STDERR, "HTTP {$response['response']['code']}");
            exit(1);
        }
        return json_decode($response['body'], true);
    }

    private function messages(array $answer): array
    {
        return array_map(fn ($element) => current($element)['message'], $answer['actions']);
    }

    public function run(string $email, string $first_name): array
    {
        $account = $this->request(['actions' => [['cmd' => 'retrieve_account_tags']]]);
        $created = $this->request([
            'lead' => $this->lead(['email' => $email, 'first_name' => $first_name]),
            'actions' => [
                ['cmd' => 'create_lead'],
                ['cmd' => 'assign_tag', 'tag_name' => 'Trial user'],
                ['cmd' => 'subscribe_lead_to_list', 'list_name' => 'Newsletter'],
            ],
        ]);
        $id = $created['actions'][0]['create_lead']['lead_details']['id'];
        $actions = [];
        foreach (['Customer', 'Trial user'] as $tag) {
            $actions[] = ['cmd' => 'assign_tag', 'tag_name' => $tag];
        }
        $tagged = $this->request(['lead' => $this->lead(['id' => $id]), 'actions' => $actions]);
        $found = $this->request(['get_lead' => $this->lead(['email' => $email])]);
        $unknown = $this->request(['get_lead' => $this->lead(['email' => 'nobody@shop.example'])]);
        return [
            'account_tags' => $account['account_tags'],
            'id' => $id,
            'created' => $this->messages($created),
            'tagged' => $this->messages($tagged),
            'first_name' => $found['lead_details']['first_name'],
            'tags' => array_column($found['lead_details']['tags'], 'tag_name'),
            'unknown' => $unknown['status'] === 'Error' && $unknown['message'] === 'No lead found',
        ];
    }
}

echo json_encode((new Kartra_Plugin($argv[1]))->run(getenv('EMAIL'), getenv('FIRST_NAME')));
