/** Passkeys: what the server asks for, handed to the browser, and what the authenticator answers, handed back. */
import { call } from './api';

export interface Passkey {
  id: string;
  name: string;
  public_key: string;
  created_at: string;
  last_used_at: string | null;
}

interface Descriptor {
  type: 'public-key';
  id: string;
}

/** `PublicKeyCredentialCreationOptions` in its form for JSON, as far as the server writes it. */
interface CreationOptions {
  challenge: string;
  rp: { id: string; name: string };
  user: { id: string; name: string; displayName: string };
  pubKeyCredParams: { type: 'public-key'; alg: number }[];
  excludeCredentials: Descriptor[];
  authenticatorSelection: AuthenticatorSelectionCriteria;
  attestation: AttestationConveyancePreference;
}

/** `PublicKeyCredentialRequestOptions` in its form for JSON, as far as the server writes it. */
export interface RequestOptions {
  challenge: string;
  rpId: string;
  allowCredentials: Descriptor[];
  userVerification: UserVerificationRequirement;
}

/** What an authenticator answered; bytes in Base64 for addresses. */
export interface PasskeyAnswer {
  id: string;
  authenticator_data: string;
  client_data: string;
  signature: string;
}

const part = encodeURIComponent;

export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}

export function textOf(bytes: ArrayBuffer): string {
  const binary = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join('');
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Whether this browser, on this page, has passkeys: they need https, or this machine. */
export function hasPasskeys(): boolean {
  return typeof PublicKeyCredential === 'function';
}

/** One plain sentence for what the browser says when somebody gives up or has no such passkey. */
function explained(error: unknown): Error {
  if (error instanceof DOMException) {
    switch (error.name) {
      case 'NotAllowedError':
        return new Error('The passkey was not used: it was cancelled, or took too long. Try again.');
      case 'InvalidStateError':
        return new Error('This authenticator has a passkey of yours already.');
      case 'SecurityError':
        return new Error('This page’s address has no passkeys: open Stet at its public address.');
    }
  }
  return error instanceof Error ? error : new Error('The passkey could not be used. Try again.');
}

const known = (ids: Descriptor[]): PublicKeyCredentialDescriptor[] =>
  ids.map((one) => ({ type: one.type, id: bytesOf(one.id) }));

/** Asks the person to use a passkey. */
export async function usePasskey(options: RequestOptions): Promise<PasskeyAnswer> {
  try {
    const found = await navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: bytesOf(options.challenge),
        allowCredentials: known(options.allowCredentials),
      },
    });
    const credential = found as PublicKeyCredential;
    const answer = credential.response as AuthenticatorAssertionResponse;
    return {
      id: textOf(credential.rawId),
      authenticator_data: textOf(answer.authenticatorData),
      client_data: textOf(answer.clientDataJSON),
      signature: textOf(answer.signature),
    };
  } catch (error) {
    throw explained(error);
  }
}

export const passkeyApi = {
  list: (signal?: AbortSignal): Promise<{ passkeys: Passkey[] }> => call('GET', '/account/passkeys', { signal }),
  remove: (id: string, password: string): Promise<void> =>
    call('POST', `/account/passkeys/${part(id)}/remove`, { body: { password } }),

  /** Asks the person to make a passkey, and adds it. Whoever had no recovery codes gets some. */
  async make(name: string, password: string): Promise<{ recovery_codes: string[] }> {
    const { public_key: options } = await call<{ public_key: CreationOptions }>('POST', '/account/passkeys/begin', {
      body: { password },
    });
    let made: PublicKeyCredential;
    try {
      made = (await navigator.credentials.create({
        publicKey: {
          ...options,
          challenge: bytesOf(options.challenge),
          user: { ...options.user, id: bytesOf(options.user.id) },
          excludeCredentials: known(options.excludeCredentials),
        },
      })) as PublicKeyCredential;
    } catch (error) {
      throw explained(error);
    }
    const answer = made.response as AuthenticatorAttestationResponse;
    return call('POST', '/account/passkeys', {
      body: { name, client_data: textOf(answer.clientDataJSON), attestation: textOf(answer.attestationObject) },
    });
  },

  /** Asks the person to approve a bundle with a passkey, and brings the approval. */
  async approve(digest: string, said: { feedback?: string; final?: string; comment: string }): Promise<void> {
    const asked = await call<{ payload_type: string; payload: string; public_key: RequestOptions }>(
      'POST',
      `/bundles/${part(digest)}/approvals/begin`,
      { body: said },
    );
    const answer = await usePasskey(asked.public_key);
    await call('POST', `/bundles/${part(digest)}/approvals`, {
      body: {
        payloadType: asked.payload_type,
        payload: asked.payload,
        signatures: [
          {
            keyid: answer.id,
            sig: btoa(Array.from(bytesOf(answer.signature), (byte) => String.fromCharCode(byte)).join('')),
            passkey: { authenticator_data: answer.authenticator_data, client_data: answer.client_data },
          },
        ],
      },
    });
  },
};
