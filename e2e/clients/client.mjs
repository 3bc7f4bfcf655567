// The JavaScript client of Kubernetes against a real server: client.mjs NAMESPACE IMAGE, with KUBECONFIG set.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { PassThrough, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

// The library is not beside this file: SKIFF_CLIENT_DIR has it.
const from = createRequire(pathToFileURL(`${process.env.SKIFF_CLIENT_DIR}/package.json`));
const k8s = await import(pathToFileURL(from.resolve('@kubernetes/client-node')).href);

const [namespace, image] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

const map = (name, data, labels) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels }, data });

async function refused(code, reason, promise) {
    await assert.rejects(promise, (e) => {
        const said = typeof e.body === 'string' ? e.body : JSON.stringify(e.body);
        return e.code === code && said.includes(reason);
    });
}

async function crud() {
    const made = await core.createNamespacedConfigMap({ namespace, body: map('m', { k: '1' }, { a: 'b' }) });
    assert.deepEqual(made.data, { k: '1' });
    await refused(409, 'AlreadyExists', core.createNamespacedConfigMap({ namespace, body: map('m', {}) }));
    await core.patchNamespacedConfigMap(
        { name: 'm', namespace, body: [{ op: 'add', path: '/data/l', value: '2' }] },
        k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
    );
    const read = await core.readNamespacedConfigMap({ name: 'm', namespace });
    assert.deepEqual(read.data, { k: '1', l: '2' });
    read.data.k = '3';
    await core.replaceNamespacedConfigMap({ name: 'm', namespace, body: read });
    await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ name: 'm', namespace, body: read }));
    const list = await core.listNamespacedConfigMap({ namespace, labelSelector: 'a=b' });
    assert.deepEqual(list.items.map((m) => m.data.k), ['3']);
    await refused(422, 'Invalid', core.createNamespacedConfigMap({ namespace, body: map('NO', {}) }));
    await core.deleteNamespacedConfigMap({ name: 'm', namespace });
    await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'm', namespace }));
}

async function watches() {
    const list = await core.listNamespacedConfigMap({ namespace });
    const seen = [];
    let gone;
    const deleted = new Promise((resolve, reject) => (gone = { resolve, reject }));
    const request = await new k8s.Watch(config).watch(
        `/api/v1/namespaces/${namespace}/configmaps`,
        { resourceVersion: list.metadata.resourceVersion, labelSelector: 'w=1', timeoutSeconds: 60 },
        (type, object) => {
            seen.push(`${type} ${object.metadata.name}`);
            if (type === 'DELETED') gone.resolve();
        },
        (error) => gone.reject(error ?? new Error(`the watch has ended after ${seen}`)),
    );
    await core.createNamespacedConfigMap({ namespace, body: map('w', {}, { w: '1' }) });
    await core.patchNamespacedConfigMap(
        { name: 'w', namespace, body: { data: { x: 'y' } } },
        k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
    );
    await core.deleteNamespacedConfigMap({ name: 'w', namespace });
    await deleted;
    request.abort();
    assert.deepEqual(seen, ['ADDED w', 'MODIFIED w', 'DELETED w']);
}

async function applies() {
    const apply = (manager, data, force) =>
        objects.patch(map('applied', data), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
    await apply('one', { a: '1', b: '1' });
    await refused(409, '.data.a', apply('two', { a: '2' }, false));
    await apply('two', { a: '2' }, true);
    const now = await apply('one', { c: '1' }, false);
    assert.deepEqual(now.data, { a: '2', c: '1' });
    assert.deepEqual(now.metadata.managedFields.map((m) => m.manager).sort(), ['one', 'two']);
}

async function informers() {
    const list = () => core.listNamespacedConfigMap({ namespace });
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list);
    const added = new Promise((resolve, reject) => {
        informer.on('add', (o) => o.metadata.name === 'informed' && resolve());
        informer.on('error', reject);
    });
    await informer.start();
    await core.createNamespacedConfigMap({ namespace, body: map('informed', {}) });
    await added;
    await informer.stop();
}

async function pods() {
    const body = {
        metadata: { name: 'p' },
        spec: {
            terminationGracePeriodSeconds: 1,
            containers: [{ name: 'c', image, imagePullPolicy: 'Never' }],
        },
    };
    await core.createNamespacedPod({ namespace, body });
    let runs;
    const running = new Promise((resolve, reject) => (runs = { resolve, reject }));
    const request = await new k8s.Watch(config).watch(
        `/api/v1/namespaces/${namespace}/pods`,
        { fieldSelector: 'metadata.name=p', timeoutSeconds: 120 },
        (_, pod) => pod.status?.phase === 'Running' && runs.resolve(),
        (error) => runs.reject(error ?? new Error('the pod does not run')),
    );
    await running;
    request.abort();
    let out = '';
    const stdout = new Writable({ write: (chunk, _, next) => ((out += chunk), next()) });
    const stdin = new PassThrough();
    const command = ['/bin/sh', '-c', 'read line; echo "got $line"; exit 3'];
    const status = new Promise((resolve, reject) => {
        new k8s.Exec(config)
            .exec(namespace, 'p', 'c', command, stdout, null, stdin, false, resolve)
            .catch(reject);
    });
    stdin.write('in\n');
    const ended = await status;
    assert.equal(out, 'got in\n');
    assert.equal(ended.status, 'Failure');
    assert.equal(ended.details.causes[0].message, '3');
    const log = new Writable({ write: (_chunk, _encoding, next) => next() });
    await new k8s.Log(config).log(namespace, 'p', 'c', log, { follow: false });
    await core.deleteNamespacedPod({ name: 'p', namespace });
}

for (const step of [crud, watches, applies, informers, pods]) {
    await step();
    console.log(`${step.name}: ok`);
}
// Sockets that are kept alive are no reason to stay.
process.exit(0);
